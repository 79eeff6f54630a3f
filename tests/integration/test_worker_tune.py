"""`riverlens worker tune` on the simulated device and on the embedded model server."""

from __future__ import annotations

import asyncio
import os
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.cost import Cost
from riverlens.batching_lint import read
from riverlens.broker.ports import free_ports
from riverlens.kafka import KafkaSettings
from riverlens_worker.tune.plan import Candidate
from riverlens_worker.tune.settings import TuneSettings
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.tuning import MODEL, every_way, simulated, sweep
from tests.harness.worker import flags, running, start_command

pytestmark = pytest.mark.alone
SLOW, FAST = Cost(20.0, 3.0), Cost(3.0, 0.4)


async def _command(*argv: str, timeout_s: float = 60) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverlens", "worker", "tune", *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")},
    )  # fmt: skip
    async with asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def _tuned(folder: Path, *argv: str, timeout_s: float = 60) -> tuple[Candidate, float, str]:
    """The settings written, the load that the command says they carry, and all that it printed."""
    code, printed, complaints = await _command(*argv, f"--out={folder}", timeout_s=timeout_s)
    print(printed)  # noqa: T201  # the figures are wanted: pytest -s
    assert (code, complaints) == (0, ""), printed + complaints
    assert f"riverlens worker run --config {folder}/worker.toml" in printed
    written = tomllib.loads((folder / "worker.toml").read_text(encoding="utf-8"))["worker"]
    chosen = Candidate(written["max_batch_size"], written["max_in_flight_calls"], written["dispatch"])
    [line] = [line for line in printed.splitlines() if line.startswith("most within")]
    return chosen, float(line.split(": ")[1].split(" ")[0]), printed


@pytest.mark.chaos
async def test_the_slow_device_is_found_out_in_half_a_minute(tmp_path: Path) -> None:
    """The server's limit of 24 rows, its one device and its cost are found, and settings that use it."""
    with simulated(tmp_path, SLOW, merge_rows=24) as server:
        words = (f"--server={server}", f"--model={MODEL}", "--seconds=24")
        chosen, per_s, printed = await _tuned(tmp_path / "out", *words)
    assert "the server takes at most 24 rows a call" in printed
    assert "the server works on one call at a time" in printed
    assert chosen.rows in {20, 24}
    assert per_s > 0.75 * SLOW.ceiling(24)
    file = read((tmp_path / "out" / "batching.config").read_text(encoding="utf-8"))
    assert (file.max_batch_size, file.num_batch_threads, file.allowed_batch_sizes) == (chosen.rows, 1, ())


async def test_what_cannot_be_is_one_line(tmp_path: Path, server: str) -> None:
    """A server away, an unknown model, a target out of reach, several servers, a folder that cannot be."""
    port = free_ports(1)[0]
    away = await _command(f"--server=127.0.0.1:{port}", f"--out={tmp_path}")
    assert away[0] == 4
    assert "does not answer" in away[2]
    unknown = await _command(f"--server={server}", "--model=typo", f"--out={tmp_path}")
    assert unknown[0] == 1
    assert "does not serve a model named 'typo'" in unknown[2]
    several = await _command(f"--server={server},127.0.0.1:1", f"--out={tmp_path}")
    assert several[0] == 2
    assert "tune measures one server" in several[2]
    nowhere = await _command(f"--server={server}", "--out=/proc/nowhere")
    assert nowhere[0] == 2
    assert nowhere[2].startswith("riverlens worker tune: out (/proc/nowhere): ")
    with simulated(tmp_path, SLOW) as slow:
        words = (f"--server={slow}", f"--model={MODEL}", f"--out={tmp_path}", "--latency-target-ms=15")
        unreachable = await _command(*words)
    assert unreachable[0] == 1
    assert "15 ms is out of reach" in unreachable[2]
    assert "a call of 1 alone takes" in unreachable[2]
    for _, _, complaints in (away, unknown, several, nowhere, unreachable):
        assert len(complaints.splitlines()) == 1, complaints


async def test_a_worker_starts_with_what_was_written(
    tmp_path: Path, kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """Tuned on a real model with a folder of images, the worker of the written file answers every frame."""
    out = tmp_path / "out"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "one.jpg").write_bytes(jpeg())
    words = ("--model=colour", f"--images={pictures}", "--seconds=12", "--most-rows=4", "--most-calls=4")
    await _tuned(out, f"--server={server}", *words)
    await put(kafka, topic_set.frames, [Put(jpeg(), partition=n % 4) for n in range(200)])
    ours = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "frames_topic": topic_set.frames,
        "events_topic": topic_set.events,
        "dlq_topic": topic_set.dlq,
        "group_id": topic_set.group,
        "admin_port": 0,
    }
    argv = (f"--config={out / 'worker.toml'}", *flags(ours))
    async with running(start_command(tmp_path / "worker.log", *argv)) as worker:
        await worker.ready()
        account = await settled(kafka, topic_set, 200)
        account.check()
        assert not account.letters
        assert await worker.stop() == 0


@pytest.mark.chaos
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("cost", "devices", "target_ms"),
    [(SLOW, 1, 250), (FAST, 1, 60), (SLOW, 2, 250)],
    ids=["slow", "fast", "two-devices"],
)
async def test_within_5_percent_of_an_exhaustive_sweep(
    tmp_path: Path, cost: Cost, devices: int, target_ms: int
) -> None:
    """In under 3 minutes settings are found that carry 95 % of what the best of all combinations does."""
    with simulated(tmp_path, cost, devices) as server:
        words = (f"--server={server}", f"--model={MODEL}", f"--latency-target-ms={target_ms}")
        began_s = asyncio.get_running_loop().time()
        chosen, per_s, _ = await _tuned(tmp_path / "out", *words, timeout_s=200)
        took_s = asyncio.get_running_loop().time() - began_s
        settings = TuneSettings(server=server, model=MODEL, latency_target_ms=target_ms, seconds=1200)
        ways = every_way((16, 32, 48, 64, 80), devices + 2)
        found = await sweep(settings, chosen, ways, per_s)
    assert found.best is not None
    ratio = found.carried.get(chosen, 0.0) / found.best.per_s
    print(  # noqa: T201  # the figures are wanted: pytest -s
        f"\ntuned in {took_s:.0f} s: {chosen.text()}, {per_s:.0f} frames/s; in the sweep of {found.tried} it"
        f" carried {found.carried.get(chosen, 0.0):.0f}, the best {found.best.per_s:.0f}"
        f" ({found.leader.text()}): {ratio:.3f}"
    )
    assert took_s < 180
    assert ratio >= 0.95
