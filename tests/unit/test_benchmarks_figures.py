"""From what was seen to figures, verdicts and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.cost import Cost
from benchmarks.figures import figures
from benchmarks.observed import Run, Seen, Sent, Usage
from benchmarks.plots import latency_plot
from benchmarks.scenario import Scenario
from benchmarks.tables import latency_table, markdown, plain, results_page
from benchmarks.verdict import Check, comparison, disturbed, targets

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
        "device": [{"devices": 1, "batches": [[100.4, 100.6, 60, 1, 0], [100.7, 100.8, 32, 1, 0]]}],
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


def _rows(engineer_p50_ms: float = 140, ceiling: float = 99.5) -> list[dict[str, Any]]:
    rows = []
    for stack, p50_ms in (("riverlens", 65.0), ("engineer", engineer_p50_ms)):
        for device in ("slow", "fast"):
            row = figures(_run(stack=stack)) | {"device": device, "foreign_cores": 0.0}
            rows.append(row | {"kind": "saturation", "latency": {}, "of_ceiling_percent": ceiling})
            group = row["latency"]["all"] | {"p50_ms": p50_ms, "oracle_p50_ms": 64.0, "oracle_p99_ms": 85.0}
            rows.append(row | {"latency": {"all": group}})
    return rows


def test_the_comparison_counts_only_where_the_other_worker_is_as_good_as_known() -> None:
    """Ceiling of both devices >= 98 %, p50 at 60 % 2.0 to 2.3 oracles; not measured is not reached."""
    assert comparison(_rows())[0]
    assert not comparison(_rows(engineer_p50_ms=100))[0]
    assert not comparison(_rows(ceiling=97))[0]
    assert not comparison([])[0]


def test_a_target_is_met_on_its_own_side_of_the_bound() -> None:
    """Upper bounds from below, lower ones from above."""
    assert Check("latency", 10, 11).met
    assert not Check("latency", 12, 11).met
    assert Check("ceiling", 99, 98, most=False).met
    assert not Check("ceiling", 97, 98, most=False).met


def test_targets_are_told_only_of_what_was_measured() -> None:
    """A ratio to the other worker is there once both are; nothing is made up."""
    found = {check.what: check.value for check in targets(_rows())}
    assert found["p50 at 60 % on the slow device, of the engineer's"] == pytest.approx(65 / 140)
    assert targets([]) == []


def test_the_page_says_so_where_others_worked_on_the_machine() -> None:
    """Runs beside foreign load are named, and a void comparison is told as such."""
    rows = _rows()
    rows[0]["foreign_cores"] = 0.8
    machine = {"cores": 2, "processor": "x", "memory_gb": 8, "python": "3.11"}
    page = results_page({"at": "today", "machine": machine, "rows": rows})
    assert disturbed(rows) == ["test / riverlens: 0.8 cores"]
    assert "## Disturbed" in page
    assert "The comparison counts." in page
    void = results_page({"at": "today", "machine": machine, "rows": rows[:2]})
    assert "THE COMPARISON IS VOID" in void


def test_tables_have_a_cell_for_every_column() -> None:
    """On a page and in a terminal."""
    table = latency_table(_rows())
    assert {len(row) for row in table} == {len(table[0])}
    assert len(plain(table).splitlines()) == len(table)
    assert len(markdown(table).splitlines()) == len(table) + 1


def test_the_plot_has_a_line_for_each_stack_and_the_oracle() -> None:
    """p50 and p99 of each."""
    assert latency_plot(_rows(), "slow", 300).count("<polyline") == 6
