"""What was measured is kept by scenario, and how long a run takes is known before."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.budget import estimate_s, limit_s, scenario_s
from benchmarks.scenario import read_scenarios
from benchmarks.store import Store
from riverlens.errors import SetupError

ORDER = ["first", "second", "third"]


def test_a_scenario_measured_again_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    """Rows come in the order of the scenarios, whenever each was measured."""
    store = Store(tmp_path)
    store.keep("second", [{"stack": "a", "value": 1}], ORDER)
    store.keep("first", [{"stack": "a", "value": 2}], ORDER)
    store.keep("second", [{"stack": "a", "value": 3}], ORDER)
    assert [row["value"] for row in store.results(ORDER)["rows"]] == [2, 3]
    assert store.names() == {"first", "second"}
    assert (tmp_path / "results.json").exists()
    store.clear()
    assert store.names() == set()


def test_a_broken_run_is_told_apart_and_its_scenario_is_measured_again(tmp_path: Path) -> None:
    """Its rows are no figures; the other stacks' are kept."""
    store = Store(tmp_path)
    store.keep("first", [{"stack": "a", "value": 1}, {"stack": "b", "error": "it fell"}], ORDER)
    results = store.results(ORDER)
    assert [row["stack"] for row in results["rows"]] == ["a"]
    assert [row["stack"] for row in results["broken"]] == ["b"]
    assert store.names() == set()


def test_without_figures_the_next_step_is_told(tmp_path: Path) -> None:
    """Nothing measured: the command that measures; a damaged file: its name."""
    store = Store(tmp_path)
    with pytest.raises(SetupError, match="make bench-short"):
        store.results(ORDER)
    store.keep("first", [], ORDER)
    (tmp_path / "scenarios" / "first.json").write_text("{", encoding="utf-8")
    with pytest.raises(SetupError, match=r"first\.json cannot be read"):
        store.results(ORDER)


def test_the_bench_takes_as_long_as_its_target_says() -> None:
    """`make bench` about 45 minutes on a quiet machine, `make bench-short` less than four."""
    known = read_scenarios()
    assert 35 * 60 < estimate_s([one for one in known if one.in_full]) < 46 * 60
    assert estimate_s([one.shortened() for one in known if one.in_short]) < 230
    assert all(scenario_s(one) > 0 for one in known)


def test_no_run_is_left_off_before_twice_its_time() -> None:
    """Each stack has two minutes beyond that; the longest limit is that of the ten minutes at the ceiling."""
    for scenario in read_scenarios():
        limits = [limit_s(scenario, stack) for stack in scenario.stacks]
        assert sum(limits) >= 2 * scenario_s(scenario) + 120 * len(limits) - 1
        assert max(limits) < 30 * 60


def test_a_rehearsal_has_every_scenario_and_takes_minutes() -> None:
    """Each for seconds: ten minutes for all, where `make bench` takes three quarters of an hour."""
    full = [one for one in read_scenarios() if one.in_full]
    rehearsed = [one.rehearsed() for one in full]
    assert [one.name for one in rehearsed] == [one.name for one in full]
    assert estimate_s(rehearsed) < 600
