"""The benchmarks end to end: a real worker, real Kafka, the simulated device, three seconds."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import ROOT
from benchmarks.processes import below
from benchmarks.store import Store
from tests.harness.waiting import wait_for


def _figures(out: Path, *words: str, into: Path | None = None) -> tuple[str, list[dict[str, Any]]]:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    found = json.loads(((into or out) / "results.json").read_text(encoding="utf-8"))
    return told.stdout, found["rows"]


@pytest.mark.alone
def test_three_seconds_of_paced_frames_have_their_figures(tmp_path: Path) -> None:
    """Every frame has one event, in order, the device ran just these, latency is above the oracle's."""
    for attempt in range(3):
        out = tmp_path / str(attempt)
        text, [row] = _figures(out, "smoke")
        if row["feed_late_p99_ms"] < 100:  # else the machine stood still: measured again
            break
    assert row["stack"] == "riverlens"
    assert row["events"] == row["expected"] > 1000
    assert row["missing"] == row["repeats"] == row["disorder"] == 0
    assert 15 < row["of_ceiling_percent"] < 25, "20 % of the ceiling were sent"
    assert row["cpu_ms_per_frame"] > 0
    assert 40e6 < row["rss_start_mb"] * 1e6 < 400e6
    group = row["latency"]["all"]
    assert group["answered"] == group["frames"] > 0
    assert group["p50_ms"] > 0.9 * group["oracle_p50_ms"] > 3
    assert "THE COMPARISON IS VOID" in text, "the comparison workers were not measured"
    assert set(row["stages_ms"]) == {"broker", "queue", "decode", "predict", "publish"}
    assert (out / "latency-fast.svg").read_text(encoding="utf-8").startswith("<svg")


def test_what_was_measured_is_neither_lost_nor_measured_again(tmp_path: Path) -> None:
    """`--resume` finds nothing left to do, `--report` tells the same figures, both within seconds."""
    Store(tmp_path).keep("smoke", [], ["smoke"])
    for word in ("--resume", "--report"):
        text, rows = _figures(tmp_path, "smoke", word)
        assert rows == []
        assert ("already" in text) is (word == "--resume")


def _command_lines(pids: list[int]) -> dict[int, str]:
    """Of those that still run."""
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended meanwhile
    return {pid: line for pid, line in found.items() if line}


async def test_sigterm_ends_a_run_in_order_and_what_was_measured_stays(tmp_path: Path) -> None:
    """Started deaf to Ctrl-C, as behind a shell: its children end, and --resume measures just the rest."""
    words = ["hops-slow-30", "smoke", "--rehearse", "--page", "--out", str(tmp_path)]
    bench = [sys.executable, "-m", "benchmarks", *words]
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", 'trap "" INT; exec "$@"', "sh", *bench, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = ""
    while "smoke: riverlens" not in lines:
        line = await asyncio.wait_for(process.stdout.readline(), 200)
        assert line, lines
        lines += line.decode()

    async def worker_runs() -> bool:
        return any("riverlens worker run" in line for line in _command_lines(below([process.pid])).values())

    await wait_for(worker_runs, what="the worker runs", timeout_s=60)
    pids = below([process.pid])
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    lines += (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert process.returncode == 130, lines
    assert "go on with --resume" in lines
    assert _command_lines(pids) == {}
    out = tmp_path / "rehearsal"
    [row] = json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    assert row["scenario"] == "hops-slow-30"
    assert not (out / "RESULTS.md").exists(), "half a run is no reason to write a page"
    text, rows = _figures(tmp_path, *words[:4], "--resume", into=out)
    assert "1 scenarios" in text
    assert [row["scenario"] for row in rows] == ["hops-slow-30", "smoke"]
    assert rows[0] == row
    page = (out / "RESULTS.md").read_text(encoding="utf-8")
    assert "## Targets" in page
    assert str(tmp_path) not in page
    assert (out / "plots" / "latency-slow.svg").exists()
