"""Targets, the comparison with others, reasons, and the page that tells them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.checks import Check
from benchmarks.page import results_page
from benchmarks.plots import latency_plot
from benchmarks.reasons import NONE_GIVEN, read_reasons, why
from benchmarks.scenario import read_scenarios
from benchmarks.tables import capacity_table, hops_table, latency_table, markdown, plain, stages_table
from benchmarks.targets import targets
from benchmarks.verdict import comparison, disturbed
from benchmarks.versus import Versus, versus
from riverlens.errors import SettingsError

MACHINE = {"cores": 2, "processor": "x", "memory_gb": 8, "python": "3.11", "riverlens": "1"}


def _row(scenario: str, stack: str, **changes: Any) -> dict[str, Any]:
    """A row as `figures` makes it, of a run without anything special."""
    values: dict[str, Any] = {
        "scenario": scenario,
        "stack": stack,
        "kind": "paced",
        "device": "slow",
        "mode": "jpeg",
        "load": 0.6,
        "plain": True,
        "workers": 1,
        "merge": False,
        "full_batch_ms": 116.0,
        "window_s": 20.0,
        "frames_per_s": 270.0,
        "of_ceiling_percent": 99.5,
        "rows_a_batch": 19.0,
        "cpu_ms_per_frame": 0.3,
        "cpu_cores": 0.1,
        "line_cores": {"kafka": 0.2, "device": 0.1, "feed": 0.1},
        "foreign_cores": 0.0,
        "missing": 0,
        "repeats": 0,
        "disorder": 0,
        "ready_after_s": 1.0,
        "rss_start_mb": 90.0,
        "rss_peak_mb": 120.0,
        "rss_slope_percent_a_minute": 0.1,
        "shares": [],
        "latency": {},
        "stages_ms": {},
        "device_late_p99_ms": 1.0,
        "feed_late_p99_ms": 2.0,
    }
    return {**values, **changes}


def _paced(stack: str, p50_ms: float, p99_ms: float = 90.0, **changes: Any) -> dict[str, Any]:
    group = {
        "frames": 9,
        "answered": 9,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "p100_ms": 200.0,
        "oracle_p50_ms": 64.0,
        "oracle_p99_ms": 85.0,
    }
    return _row("paced-slow-60", stack, latency={"all": group}, **changes)


def _rows(engineer_p50_ms: float = 140, ceiling: float = 99.5) -> list[dict[str, Any]]:
    rows = [
        _row(f"saturation-{device}-jpeg", stack, kind="saturation", device=device, load=None)
        | {"of_ceiling_percent": ceiling if stack == "engineer" else 99.0}
        for device in ("slow", "fast")
        for stack in ("riverlens", "engineer")
    ]
    return [*rows, _paced("riverlens", 65), _paced("engineer", engineer_p50_ms, 160)]


def _page(rows: list[dict[str, Any]], **changes: Any) -> str:
    results = {"begun": "then", "ended": "later", "machine": MACHINE, "rows": rows, "broken": []}
    return results_page({**results, **changes}, {})


def test_the_comparison_counts_only_where_the_other_worker_is_as_good_as_known() -> None:
    """Ceiling of both devices >= 98 %, p50 at 60 % 2.0 to 2.3 oracles; not measured is not reached."""
    assert comparison(_rows())[0]
    assert not comparison(_rows(engineer_p50_ms=100))[0]
    assert not comparison(_rows(ceiling=97))[0]
    assert not comparison([])[0]


def test_a_target_is_met_on_its_own_side_of_the_bound() -> None:
    """Upper bounds from below, lower ones from above; without a figure it is neither."""
    assert Check("k", "latency", 10, 11).state == "met"
    assert Check("k", "latency", 12, 11).state == "MISSED"
    assert Check("k", "ceiling", 99, 98, most=False).state == "met"
    assert Check("k", "ceiling", 97, 98, most=False).state == "MISSED"
    assert Check("k", "latency", None, 11).state == "not measured"
    assert Check("k", "latency", 10, None).state == "not measured"


def test_every_target_is_told_whether_measured_or_not() -> None:
    """Without figures all are there, under keys of their own; a ratio to another worker needs both."""
    nothing = targets([])
    assert {check.state for check in nothing} == {"not measured"}
    assert len({check.key for check in nothing}) == len(nothing) == len(targets(_rows()))
    found = {check.key: check for check in targets(_rows())}
    assert found["others-slow-60-p50"].value == pytest.approx(65 / 140)
    assert found["latency-slow-60-p50"].bound == pytest.approx(1.05 * 64 + 3)
    assert found["others-fast-60-p50"].state == "not measured"


def test_every_target_can_be_measured_by_the_scenarios_of_the_bench() -> None:
    """A row for each stack of each full scenario leaves no target without a figure."""
    group = {
        f"{name}p{percent}_ms": 50.0 for name in ("", "oracle_", "split_oracle_") for percent in (50, 99)
    }
    groups = dict.fromkeys(("all", "other partitions", "after"), group)
    rows = []
    for scenario in (one for one in read_scenarios() if one.in_full):
        for stack in scenario.stacks:
            row = _row(scenario.name, stack, kind=scenario.kind, device=scenario.device, mode=scenario.mode)
            row |= {"load": scenario.load if scenario.kind == "paced" else None, "plain": scenario.plain}
            row |= {"workers": scenario.workers, "merge": scenario.merge, "shares": [1.0], "refit_batches": 3}
            row |= {"first_predict_s": 0.8, "decode_cpu_ms": 0.7}
            rows.append(row | {"latency": groups if scenario.kind == "paced" else {}})
    assert [check.key for check in targets(rows) if check.state == "not measured"] == []


@pytest.mark.parametrize(
    ("ours", "less_is_better", "standing"),
    [
        (50, "yes", "ahead"),
        (150, "yes", "behind"),
        (101, "yes", "level"),
        (150, "no", "ahead"),
        (None, "yes", "-"),
    ],
)
def test_ahead_is_on_the_side_that_is_better(ours: float | None, less_is_better: str, standing: str) -> None:
    """Of another's 100: less latency or more frames; within 2 % both are level."""
    one = Versus("k", "scenario", "figure", ours, 100, None, most=less_is_better == "yes")
    assert one.standing == standing


def test_ours_is_held_against_the_better_of_the_others() -> None:
    """Quicker than one and slower than the other is behind."""
    assert Versus("k", "s", "f", 90, 200, 80, most=True).standing == "behind"


def test_a_scenario_that_only_ours_ran_is_not_compared() -> None:
    """Three figures of each of three scenarios that both ran, none of the fourth."""
    found = versus([*_rows(), _row("alone", "riverlens")])
    assert [one.scenario for one in found].count("paced-slow-60") == 3
    assert "alone" not in {one.scenario for one in found}


def test_a_reason_is_found_by_its_key_before_any_pattern() -> None:
    """The key itself, else the first pattern that fits, else it says that there is none."""
    reasons = {"a-*": "pattern", "a-1": "exact"}
    assert why("a-1", reasons) == "exact"
    assert why("a-2", reasons) == "pattern"
    assert why("b", reasons) == f"{NONE_GIVEN} b"


def test_the_reasons_are_of_targets_and_comparisons_that_exist() -> None:
    """No reason is left over from a target that nobody knows any more."""
    keys = {check.key for check in targets([])}
    keys |= {f"{key}-with-hops" for key in keys if key.startswith("latency-")}
    figures = ("p50", "p99", "cpu", "frames", "rss", "start")
    keys |= {f"behind-{scenario.name}-{figure}" for scenario in read_scenarios() for figure in figures}
    for pattern in read_reasons():
        assert any(why(key, {pattern: "found"}) == "found" for key in keys), pattern


def test_a_reason_that_is_no_text_is_refused(tmp_path: Any) -> None:
    """The error names its key."""
    path = tmp_path / "reasons.toml"
    path.write_text('[reasons]\n"a" = 3\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="reason of 'a' is no text"):
        read_reasons(path)


def test_the_page_gives_a_reason_exactly_where_a_target_is_missed() -> None:
    """Missed ones are listed with theirs, or that there is none; met ones are not."""
    rows = [*_rows()[:4], _paced("riverlens", 80, 85), _paced("engineer", 140, 160)]
    page = _page(rows)
    missed = page.partition("### Missed, and why")[2].partition("##")[0]
    assert "- slow device at 60 %: p50 ms (<= 1.05 oracles + 3 ms)" in missed
    assert f"{NONE_GIVEN} latency-slow-60-p50" in missed
    assert "p99 ms" not in missed


def test_a_missed_latency_tells_how_it_stands_with_the_hops_of_this_machine() -> None:
    """Bound 70 ms, 76 with hops of 9 ms: 75 ms meet that one; 80 do not and need a reason of their own."""
    page = _page([*_rows()[:4], _paced("riverlens", 75, 85), _paced("hops", 9)])
    assert "p50 ms (<= 1.05 oracles + 3 ms) (with the hops measured here 76 ms: met)" in page
    assert f"{NONE_GIVEN} latency-slow-60-p50\n" in page
    page = _page([*_rows()[:4], _paced("riverlens", 80, 85), _paced("hops", 9)])
    assert "p50 ms (<= 1.05 oracles + 3 ms) (with the hops measured here 76 ms: missed too)" in page
    assert f"{NONE_GIVEN} latency-slow-60-p50-with-hops\n" in page


def test_the_page_says_so_where_others_worked_or_a_run_broke() -> None:
    """Disturbed, repeated and broken runs are named, and a void comparison is told as such."""
    rows = _rows()
    rows[0]["foreign_cores"] = 0.8
    rows[1]["foreign_cores_of_runs"] = [0.5, 0.1]
    page = _page(rows, broken=[{"scenario": "soak", "stack": "riverlens", "error": "it fell over"}])
    assert disturbed(rows) == ["saturation-slow-jpeg / riverlens: 0.80 cores"]
    assert "saturation-slow-jpeg / riverlens: 0.80 cores" in page.partition("## Disturbed")[2]
    assert "saturation-slow-jpeg / engineer: 0.50, 0.10" in page.partition("## Done twice")[2]
    assert "soak / riverlens: it fell over" in page.partition("## Broken")[2]
    assert "1 more broke" in page.partition("## How")[0]
    assert "The comparison counts." in page
    assert "THE COMPARISON IS VOID" in _page(rows[:2])


def test_tables_have_a_cell_for_every_column() -> None:
    """On a page and in a terminal."""
    rows = [*_rows(), _paced("hops", 4)]
    rows[-2]["stages_ms"] = {"queue": 3.0}
    for table in (latency_table(rows), capacity_table(rows), hops_table(rows), stages_table(rows)):
        assert len(table) > 1
        assert {len(row) for row in table} == {len(table[0])}
        assert len(plain(table).splitlines()) == len(table)
        assert len(markdown(table).splitlines()) == len(table) + 1


def test_the_hops_are_added_to_the_oracle() -> None:
    """64 / 85 ms of the oracle, 4 / 9 of the hops: 71 / 98 are left, ours is 65 / 90."""
    rows = [*_rows(), _paced("hops", 4, 9)]
    assert hops_table(rows)[1] == ["slow", "60%", "64 / 85", "4 / 9", "71 / 98", "65 / 90"]


def test_the_plot_has_a_line_for_each_stack_and_the_oracle() -> None:
    """p50 and p99 of each."""
    assert latency_plot(_rows(), "slow", 300).count("<polyline") == 6


def test_a_missed_target_stands_beside_its_ratio_and_the_number_of_its_reason() -> None:
    """75 ms of 70.2 are 1.07 times what is allowed; the reason of that number stands below the table."""
    page = _page([*_rows()[:4], _paced("riverlens", 75, 85)])
    [line] = [line for line in page.splitlines() if line.startswith("| slow device at 60 %: p50 ms")]
    assert line.endswith("| 75 | <= 70.2 | 1.07 | MISSED (1) |")
    assert f"\n1. {NONE_GIVEN} latency-slow-60-p50\n   - slow device at 60 %: p50 ms" in page
