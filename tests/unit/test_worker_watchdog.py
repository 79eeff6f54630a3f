"""When work stands still, what is said of it: every stage, every excuse, each partition by itself."""

from __future__ import annotations

from typing import Any

import pytest

from riverlens_worker.loop_lag import likely_cause
from riverlens_worker.watchdog import PartitionReading, PartitionWatch, Reading, Watchdog, culprit

TIMEOUT_S = 60.0


def reading(now_s: float = 0.0, settled: int = 0, **fields: Any) -> Reading:
    """The worker at `now_s`."""
    return Reading(now_s, settled, **fields)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"unread": 7}, "Kafka gives nothing of the 7 frames"),
        ({"source": 5}, "the source holds 5 frames"),
        ({"references": 4, "source": 5}, "4 references are being fetched; see reference_timeout_ms"),
        ({"decode": 3, "references": 4}, "decoding holds 3 frames"),
        ({"batcher": 8, "decode": 3}, "the batcher holds 8 frames that no model server takes"),
        ({"predictor": 9, "batcher": 8}, "the predictor waits for the model server: none takes the 9 frames"),
        ({"predictor": 9, "calls": 2}, "2 calls with 9 frames have no answer; see predict_timeout_ms"),
        ({"publisher": 6, "predictor": 9, "calls": 2}, "the publisher waits for Kafka before it takes 6"),
        ({"unacknowledged": 2, "publisher": 6}, "waits for Kafka to acknowledge 2 records"),
        ({"early": 30, "references": 1}, "1 references are being fetched"),
    ],
)
def test_the_last_stage_that_holds_frames_is_named(held: dict[str, int], words: str) -> None:
    """All before it wait for room there; results that wait for an earlier frame accuse nobody."""
    assert words in culprit(reading(**held))


def test_standing_still_is_told_after_the_timeout_and_taken_back() -> None:
    """Nothing settled while frames wait: told once the time is over, with the stages; "" once one settles."""
    dog = Watchdog(TIMEOUT_S)
    held = {"predictor": 4, "calls": 1, "source": 20}
    assert not dog.look(reading(0, 10, **held))
    assert not dog.look(reading(59.9, 10, **held))
    told = dog.look(reading(60, 10, **held))
    assert told.startswith("nothing settled for 60 s: the predictor waits for the model server")
    assert told.endswith("(frames by stage: source 20, predictor 4)")
    assert not dog.look(reading(61, 11, **held))
    assert not dog.look(reading(120, 11, **held))
    assert dog.look(reading(121, 11, **held))


@pytest.mark.parametrize("pause", [{}, {"source": 3, "excused": True}], ids=["nothing waits", "excused"])
def test_time_without_waiting_frames_does_not_count(pause: dict[str, Any]) -> None:
    """An idle worker, and one whose model server is known to be away, stand still for nobody."""
    dog = Watchdog(TIMEOUT_S)
    dog.look(reading(0, 5, source=1))
    assert not dog.look(reading(59, 5, **pause))
    assert not dog.look(reading(1000, 5, **pause))
    assert not dog.look(reading(1001, 5, source=1)), "a frame that has just come"
    assert not dog.look(reading(1060, 5, source=1))
    assert dog.look(reading(1061, 5, source=1))


def part(number: int, mark: int | None, *, waits: bool = True, lease: int = 1) -> PartitionReading:
    """One partition."""
    return PartitionReading(number, lease, mark, waits, 12.0 if waits and mark is not None else None)


def test_one_partition_that_stands_still_is_told_once() -> None:
    """It is named with its offset and its oldest frame's age; the others are 0; its going on is told."""
    watch = PartitionWatch(TIMEOUT_S)
    for second in range(60):
        seen = watch.look(reading(second, partitions=[part(0, second), part(3, 17), part(5, 9, waits=False)]))
        assert not seen.stuck
        assert seen.stalled_s == {0: 0.0, 3: float(second), 5: 0.0}
    seen = watch.look(reading(60, partitions=[part(0, 60), part(3, 17)]))
    assert seen.stuck == ["partition 3 stands still for 60 s at offset 17: its oldest frame is 12 s old"]
    seen = watch.look(reading(61, partitions=[part(0, 61), part(3, 17)]))
    assert (seen.stuck, seen.stalled_s[3]) == ([], 61.0)
    seen = watch.look(reading(62, partitions=[part(0, 62), part(3, 18)]))
    assert (seen.freed, seen.stalled_s[3]) == ([3], 0.0)


def test_a_partition_that_gives_nothing_is_told() -> None:
    """One with frames on Kafka that never came is no less stuck."""
    watch = PartitionWatch(TIMEOUT_S)
    watch.look(reading(0, partitions=[part(1, None)]))
    (line,) = watch.look(reading(70, partitions=[part(1, None)])).stuck
    assert line == "partition 1 gives no frames for 70 s, though some lie on Kafka"


def test_a_new_lease_begins_anew() -> None:
    """What came back after a rebalance has its own time; what left is forgotten without a word."""
    watch = PartitionWatch(TIMEOUT_S)
    watch.look(reading(0, partitions=[part(1, 5), part(2, 5)]))
    assert len(watch.look(reading(60, partitions=[part(1, 5), part(2, 5)])).stuck) == 2
    seen = watch.look(reading(61, partitions=[part(1, 5, lease=2)]))
    assert (seen.stalled_s, seen.stuck, seen.freed) == ({1: 0.0}, [], [])
    assert not watch.look(reading(90, partitions=[part(1, 5, lease=2), part(2, 5)])).stuck


def test_an_excuse_holds_for_partitions_too() -> None:
    """While the model server is known to be away, the gauges run and no line accuses a partition."""
    watch = PartitionWatch(TIMEOUT_S)
    watch.look(reading(0, partitions=[part(1, 5)], excused=True))
    seen = watch.look(reading(90, partitions=[part(1, 5)], excused=True))
    assert (seen.stuck, seen.stalled_s) == ([], {1: 90.0})


@pytest.mark.parametrize(
    ("late_s", "loop_cpu_s", "other_cpu_s", "words"),
    [
        (2.0, 1.9, 0.0, "one step of the worker itself"),
        (2.0, 0.2, 1.8, "see decode_threads"),
        (8.0, 0.01, 0.02, "stopped or paused"),
        (2.0, 0.5, 0.1, "machine is overloaded"),
    ],
)
def test_the_likely_cause_of_a_late_loop(
    late_s: float, loop_cpu_s: float, other_cpu_s: float, words: str
) -> None:
    """Who had the processor meanwhile tells what kept the loop."""
    assert words in likely_cause(late_s, loop_cpu_s, other_cpu_s)
