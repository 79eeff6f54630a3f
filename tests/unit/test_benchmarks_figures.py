"""From what was seen to figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.admin import read_metrics
from benchmarks.cost import Cost
from benchmarks.figures import figures
from benchmarks.observed import Run, Seen, Sent, Usage
from benchmarks.scenario import Scenario

FRAMES = 1000


def _run(**changes: Any) -> Run:
    """A second's thousand frames at 1000/s after a second of warm-up, each with its event 50 ms later."""
    scenario = Scenario("test", "paced", "slow", Cost(20, 3), warm_up_s=0.5, seconds=1)
    at_s = 100 + np.arange(FRAMES) / 1000
    offsets = np.arange(FRAMES)
    zeros = np.zeros(FRAMES, np.int64)
    values: dict[str, Any] = {
        "scenario": scenario,
        "stack": "riverlens",
        "sent": Sent(zeros, offsets, zeros, at_s, np.zeros(FRAMES)),
        "seen": Seen(zeros, offsets, at_s + 0.05, 0),
        "expected": FRAMES,
        "usage": [Usage(99, 1.0, 50_000_000, 10.0), Usage(102, 2.5, 50_000_000, 13.0)],
        "others": {"kafka": [Usage(99, 0.0, 0, 10.0), Usage(102, 0.3, 0, 13.0)]},
        "device": [
            {
                "devices": 1,
                "late_s": [0.002],
                "batches": [[100.4, 100.6, 60, 1, 0, 0.0], [100.7, 100.8, 32, 1, 0, 0.0]],
            }
        ],
        "started_s": 98.0,
        "ready_s": 99.0,
        "rss_start_bytes": 50_000_000,
        "rss_peak_bytes": 60_000_000,
    }
    return Run(**{**values, **changes})


def test_latency_is_from_capture_to_append_of_the_steady_frames() -> None:
    """All events come 50 ms after their frame; frames of the warm-up are left out."""
    group = figures(_run())["latency"]["all"]
    assert group["p50_ms"] == pytest.approx(50, abs=1)
    assert group["frames"] == group["answered"] == 499


def test_frames_without_an_event_count_as_lost_and_have_no_latency() -> None:
    """Half the events missing: counted, and latency is of those that came."""
    run = _run()
    half = Seen(run.seen.partition[::2], run.seen.offset[::2], run.seen.appended_s[::2], 0)
    found = figures(_run(seen=half))
    assert found["missing"] == FRAMES // 2
    assert found["latency"]["all"]["answered"] == pytest.approx(250, abs=1)


def test_a_batch_across_the_windows_edge_counts_by_its_part() -> None:
    """The window is 100.5 to 100.999: half of the first batch, all of the second: 62 rows in 0.2 s."""
    found = figures(_run())
    assert found["device_busy_percent"] == pytest.approx(100 * 0.2 / 0.499, rel=0.01)
    assert found["of_ceiling_percent"] == pytest.approx(100 * 62 / 0.499 / (32 / 0.116), rel=0.01)


def test_cpu_is_of_the_window_and_others_work_is_told() -> None:
    """Half a core at 1000 frames/s is 0.5 ms a frame; of a whole busy core, 0.4 is not of the measurement."""
    found = figures(_run())
    assert found["cpu_ms_per_frame"] == pytest.approx(0.5, rel=0.15)
    assert found["foreign_cores"] == pytest.approx(1.0 - 0.5 - 0.1, abs=0.01)


def test_repeats_are_counted_and_the_first_event_times_the_frame() -> None:
    """A second event of a frame changes no latency."""
    old = _run().seen
    late = np.append(old.appended_s, 200.0)
    seen = Seen(np.append(old.partition, 0), np.append(old.offset, 999), late, 0)
    found = figures(_run(seen=seen))
    assert found["repeats"] == 1
    assert found["latency"]["all"]["p100_ms"] < 60


@pytest.mark.parametrize(
    ("waits", "batches"), [([0.6] * 7 + [0.01] * 9 + [0.6] + [0.01] * 9, 7), ([0.6] * 30, 30), ([0.0] * 9, 0)]
)
def test_batches_until_calls_come_just_in_time_again(waits: list[float], batches: int) -> None:
    """After the change at 100 s: up to the last too early of six that mostly are; all where never."""
    told = [[99.0, 99.9, 8, 1, 0, 0.8]]
    told += [[100 + i, 100.9 + i, 8, 1, 0, wait] for i, wait in enumerate(waits)]
    found = figures(_run(changed_s=100.0, device=[{"devices": 1, "late_s": [], "batches": told}]))
    assert found["refit_batches"] == batches
    assert figures(_run())["refit_batches"] is None


def test_a_long_runs_window_leaves_out_no_more_than_seconds_at_its_edges() -> None:
    """Of 600 s at saturation 560 s count, of 1 s three quarters."""
    scenario = Scenario("test", "saturation", "slow", Cost(20, 3))
    for span_s, window_s in ((600, 560), (1, 0.75)):
        appended_s = 100 + np.arange(FRAMES) * span_s / (FRAMES - 1)
        zeros = np.zeros(FRAMES, np.int64)
        found = figures(_run(scenario=scenario, sent=None, seen=Seen(zeros, zeros, appended_s, 0)))
        assert found["window_s"] == pytest.approx(window_s)


def test_the_workers_own_metrics_tell_its_stages_and_shares() -> None:
    """Sums over counts of all workers, in ms; the published events of each."""
    page = """\
# TYPE riverlens_frames counter
riverlens_frames_total{{outcome="published",reason=""}} {published}
riverlens_frames_total{{outcome="dead_lettered",reason="undecodable"}} 7
# TYPE riverlens_stage_seconds histogram
riverlens_stage_seconds_bucket{{stage="queue",le="+Inf"}} 10
riverlens_stage_seconds_count{{stage="queue"}} 10
riverlens_stage_seconds_sum{{stage="queue"}} {queue_s}
"""
    told = read_metrics([page.format(published=3, queue_s=0.1), page.format(published=4, queue_s=0.3)])
    assert told.published == [3, 4]
    assert told.stages_ms == {"queue": pytest.approx(20)}
