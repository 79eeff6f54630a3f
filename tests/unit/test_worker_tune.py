"""What `riverlens worker tune` decides: what is padded, how many devices, which load next, which files."""

from __future__ import annotations

import heapq
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from riverlens.batching_lint import read
from riverlens.kafka import KafkaSettings
from riverlens.settings import load
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tune import plan
from riverlens_worker.tune.choice import STEP, Load, Search
from riverlens_worker.tune.cost import CallTimes, busy_devices, padded, whole_devices
from riverlens_worker.tune.files import (
    BatchingAdvice,
    allowed_sizes,
    batching_text,
    secrets,
    settings_text,
    traps,
)
from riverlens_worker.tune.plan import Candidate, Server
from riverlens_worker.tune.settings import TuneSettings
from tests.worker_parts import examples

SIZES = plan.sizes(64)
SLOW = Server(0.020, 0.003, 1, SIZES)
CHOSEN = Candidate(48, 3, "just-in-time")


def _times(a_s: float, b_s: float, allowed: list[int], noise: float = 0.0) -> CallTimes:
    dice, times = random.Random(1), CallTimes()  # noqa: S311  # repeatable on purpose
    for _ in range(6):
        for rows in SIZES:
            paid = next((size for size in allowed if size >= rows), rows)
            times.add(rows, (a_s + b_s * paid) * (1 + noise * dice.uniform(-1, 1)))
    return times


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_padding_is_seen_where_rows_cost(noise: float) -> None:
    """Of a server that pads to 1, 8, 32, 64 every other size is told, with the one that it is padded to."""
    times = _times(0.005, 0.003, [1, 8, 32, 64], noise)
    cost = times.fit.cost()
    assert cost is not None
    found = padded(times, cost[1])
    assert found.keys() == {size for size in SIZES if size not in {1, 8, 32, 64}} - {56} | (
        found.keys() & {56}
    )
    assert all(found[size] == next(n for n in (8, 32, 64) if n > size) for size in found)


@given(
    a_ms=st.floats(0.5, 50),
    b_ms=st.floats(0.05, 10),
    noise=st.floats(0, 0.1),
)
@examples(200)
def test_a_server_that_pads_nothing_is_not_accused(a_ms: float, b_ms: float, noise: float) -> None:
    """A straight line with noise of up to 10 % shows no padding."""
    times = _times(a_ms / 1000, b_ms / 1000, [], noise)
    cost = times.fit.cost()
    assert cost is not None
    assert not padded(times, cost[1])


def test_a_slow_first_call_of_a_size_is_noticed_and_not_counted() -> None:
    """The server that made ready for each size is told by its sizes; their median is that of later calls."""
    times = CallTimes()
    for seconds in (0.9, 0.1, 0.1, 0.1):
        times.add(8, seconds)
    for seconds in (0.1, 0.1, 0.1):
        times.add(4, seconds)
    assert times.slow_first_sizes() == [8]
    assert times.medians() == {4: 0.1, 8: 0.1}


def _answers(devices: int, calls: int, *, merge: int | None, seed: int) -> list[tuple[float, int]]:
    """Answers of a server with so many calls always under way, of unlike sizes."""
    dice = random.Random(seed)  # noqa: S311  # repeatable on purpose
    waiting = [dice.randint(9, 16) for _ in range(calls)]
    running: list[tuple[float, list[int]]] = []
    answers: list[tuple[float, int]] = []
    now_s = 0.0
    while now_s < 4:
        while waiting and len(running) < devices:
            batch = [waiting.pop(0)]
            while merge and waiting and sum(batch) + waiting[0] <= merge:
                batch.append(waiting.pop(0))
            heapq.heappush(running, (now_s + SLOW.seconds(sum(batch)), batch))
        now_s, batch = heapq.heappop(running)
        answers += [(now_s, rows) for rows in batch]
        waiting += [dice.randint(9, 16) for _ in batch]
    return answers


@pytest.mark.parametrize("merge", [None, 16, 64])
@pytest.mark.parametrize("devices", [1, 2, 3, 4])
def test_devices_are_counted_whether_or_not_the_server_merges(devices: int, merge: int | None) -> None:
    """Work done a second, each batch at its cost alone, is the number of devices, merged calls or not."""
    for seed in range(5):
        answers = _answers(devices, 3 * devices + 1, merge=merge, seed=seed)
        assert whole_devices(busy_devices(answers, SLOW.seconds), 16) == devices


def test_too_few_answers_tell_of_one_device() -> None:
    """Nothing is concluded from an answer or two."""
    assert busy_devices([(1.0, 4), (1.1, 4)], SLOW.seconds) == 1.0


@pytest.mark.parametrize(
    ("target_ms", "rows", "about"),
    [(250, 64, 279.0), (250, 32, 0.95 * 32 / 0.116), (60, 64, 111.0), (50, 64, 66.7), (40, 64, 0.0)],
)
def test_what_batches_should_carry(target_ms: float, rows: int, about: float) -> None:
    """Two services within the target, as far as full batches go; nothing where one frame takes longer."""
    assert plan.sustainable_per_s(SLOW, rows, target_ms / 1000) == pytest.approx(about, rel=0.03)


def test_the_smallest_size_that_is_as_good_is_taken() -> None:
    """48 rows carry as much within 250 ms as 64 do, and two devices want larger ones."""
    assert plan.best_size(SLOW, 0.25) == 48
    assert plan.best_size(Server(0.02, 0.003, 2, SIZES), 0.25) == 56


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_ways_keep_to_the_calls_allowed_and_repeat_none(devices: int) -> None:
    """One device is served just in time first, several at once; no way twice, none above the limit."""
    ways = plan.ways(devices, 32, most_calls=3)
    assert ways[0].dispatch == ("just-in-time" if devices == 1 else "at-once")
    assert len(set(ways)) == len(ways)
    assert max(way.calls for way in ways) <= 3


@given(per_s=st.floats(20, 3000), cameras=st.integers(1, 64), seed=st.integers(0, 9))
@examples()
def test_arrivals_rise_and_keep_the_rate(per_s: float, cameras: int, seed: int) -> None:
    """As many as the rate says, in order, none before the start."""
    at_s = plan.arrivals(per_s, 4.0, cameras, seed)
    assert at_s == sorted(at_s)
    assert at_s[0] >= 0
    assert abs(len(at_s) - 4 * per_s) <= cameras + 1


def _carries(capacity: dict[Candidate, float], target_ms: float, search: Search) -> int:
    """Run a search against known capacities; how many runs it took."""
    runs = 0
    while (trial := search.next()) is not None:
        runs += 1
        p99_ms = target_ms * (0.5 + 0.5 * trial.per_s / capacity[trial.candidate])
        search.tell(trial, Load(trial.per_s, 1.0, p99_ms / 2, p99_ms, 8.0))
        assert runs < 100
    return runs


@given(
    target_ms=st.floats(120, 600),
    devices=st.integers(1, 4),
    guess=st.floats(0.3, 3),
    gains=st.lists(st.floats(0.6, 1.2), min_size=5, max_size=5),
)
@examples(300)
def test_the_search_ends_near_the_best_of_all(
    target_ms: float, devices: int, guess: float, gains: list[float]
) -> None:
    """However wrong the first guess, what is found carries 95 % of the best of every combination."""
    server = Server(0.02, 0.003, devices, SIZES)
    rows = plan.best_size(server, target_ms / 1000)
    ways = plan.ways(devices, rows, 16)
    capacity = {
        Candidate(size, way.calls, way.dispatch): gain
        * plan.sustainable_per_s(server, size, target_ms / 1000)
        for way, gain in zip(ways, gains, strict=False)
        for size in SIZES
    }
    search = Search(
        ways, guess * capacity[ways[0]], target_ms, lambda best, per_s: plan.rivals(best, per_s, server, 16)
    )
    runs = _carries(capacity, target_ms, search)
    assert search.best is not None
    assert capacity[search.leader] >= 0.95 * max(capacity.values())
    assert search.best.per_s >= capacity[search.leader] / STEP
    assert runs <= 45


def test_a_target_out_of_reach_ends_with_the_nearest() -> None:
    """Where no load is carried the search ends, and knows the lowest latency that it saw."""
    ways = plan.ways(1, 8, 4)
    search = Search(ways, 10.0, 50.0)
    while (trial := search.next()) is not None:
        search.tell(trial, Load(trial.per_s, 1.0, 60.0, 60.0 + trial.per_s, 1.0))
    assert search.best is None
    assert search.nearest is not None
    assert search.nearest[0].p99_ms == pytest.approx(60.5)
    assert search.tried == len(ways)


@pytest.mark.parametrize(
    ("answered", "p99_ms", "late_ms", "within", "doubtful"),
    [
        (1.0, 100, 0, True, False),
        (1.0, 101, 0, False, True),
        (1.0, 130, 0, False, False),
        (1.0, 130, 6, False, True),
        (1.0, 201, 6, False, False),
        (0.9, 90, 6, False, False),
    ],
)
def test_what_a_run_proves(
    answered: float, p99_ms: float, late_ms: float, *, within: bool, doubtful: bool
) -> None:
    """Carried means answered in time; a narrow failure, or one while this machine was late, proves little."""
    load_seen = Load(50.0, answered, p99_ms / 2, p99_ms, 4.0, late_ms)
    assert (load_seen.within(100), load_seen.doubtful(100)) == (within, doubtful)


@pytest.mark.parametrize("slow_first", [False, True])
@pytest.mark.parametrize("devices", [1, 2, 32])
def test_the_batching_file_has_no_trap(devices: int, *, slow_first: bool) -> None:
    """It reads back as meant, a thread a device, no call of any worker refused, the last size the limit."""
    allowed = allowed_sizes(48, slow_first=slow_first, padded={})
    advice = BatchingAdvice(48, devices, 3, 8, allowed)
    text = batching_text(advice, ["for a test"])
    file = read(text)
    assert (file.max_batch_size, file.num_batch_threads, file.batch_timeout_micros) == (48, devices, 0)
    assert (file.max_enqueued_batches or 0) >= max(24, devices)
    assert file.allowed_batch_sizes == ((1, 2, 4, 8, 16, 24, 32, 48) if slow_first else ())
    assert traps(text, advice) == []


def test_the_settings_file_is_read_by_the_worker_and_holds_no_password(tmp_path: Path) -> None:
    """What was given and what was tuned come back; secrets are left to variables that are named."""
    kafka = KafkaSettings(
        bootstrap_servers="kafka:9092",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="u",
        sasl_password=SecretStr("hush"),
    )
    given_settings = TuneSettings(server="gpu1:8500", model="m", labels="coco", kafka=kafka, room_frames=64)
    text = settings_text(given_settings, CHOSEN, ["heading"])
    assert "hush" not in text
    assert secrets(given_settings) == ["RIVERLENS_KAFKA__SASL_PASSWORD"]
    path = tmp_path / "worker.toml"
    path.write_text(text, encoding="utf-8")
    read_back = load(
        WorkerSettings, ["--config", str(path), "--kafka.sasl-password=hush"], prog="riverlens worker run"
    )
    assert (read_back.max_batch_size, read_back.max_in_flight_calls, read_back.dispatch) == (
        48, 3, "just-in-time",
    )  # fmt: skip
    assert (read_back.server, read_back.model, read_back.labels) == ("gpu1:8500", "m", "coco")
    assert read_back.kafka == kafka
    assert read_back.room_frames == 5 * 48, "a partition's frames fill all calls and the next batches"


@pytest.mark.parametrize("server", ["a:1,b:1", "dns:///a:1"])
def test_one_server_is_tuned_at_a_time(server: str) -> None:
    """Several servers, or a name for several, are refused with the setting's name."""
    with pytest.raises(ValidationError, match=r"tune measures one server"):
        TuneSettings(server=server)
