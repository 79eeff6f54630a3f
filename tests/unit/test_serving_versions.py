"""Which versions should be loaded, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_serving.versions import (
    All,
    Latest,
    Phase,
    Plan,
    Policy,
    Specific,
    aspired,
    parse_version,
    plan,
)

READY, LOADING, FAILED, UNLOADING = Phase.READY, Phase.LOADING, Phase.FAILED, Phase.UNLOADING


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("00000123", 123),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("v1", None),
        ("1.tmp", None),
        ("-1", None),
        ("", None),
        ("٣", None),
    ],
)
def test_a_versions_name_is_a_number(name: str, version: int | None) -> None:
    """A child of the base path is a version if its name is an int64 in plain digits."""
    assert parse_version(name) == version


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Latest(), {7}),
        (Latest(2), {7, 5}),
        (All(), {1, 5, 7}),
        (Specific(frozenset({1, 9})), {1}),
    ],
)
def test_policies(policy: Policy, wanted: set[int]) -> None:
    """Each policy picks from the versions found; a specific one that is not there is not wanted."""
    assert aspired(policy, [1, 5, 7]) == wanted


@pytest.mark.parametrize(
    ("wanted", "phases", "expected"),
    [
        pytest.param({1}, {}, Plan(load=(1,)), id="first"),
        pytest.param({2}, {1: READY}, Plan(load=(2,)), id="old-stays-while-new-loads"),
        pytest.param({2}, {1: READY, 2: LOADING}, Plan(), id="still-loading"),
        pytest.param({2}, {1: READY, 2: READY}, Plan(unload=(1,)), id="then-old-goes"),
        pytest.param({2}, {1: READY, 2: FAILED}, Plan(), id="broken-new-keeps-old"),
        pytest.param({3}, {1: READY, 2: FAILED}, Plan(load=(3,), forget=(2,)), id="broken-one-forgotten"),
        pytest.param(
            {3}, {1: READY, 2: LOADING}, Plan(load=(3,), give_up=(2,)), id="overtaken-while-loading"
        ),
        pytest.param({1}, {1: FAILED}, Plan(), id="not-tried-again-while-it-stays"),
        pytest.param(set(), {1: READY, 2: READY}, Plan(unload=(1, 2)), id="nothing-left"),
        pytest.param({1, 2, 3}, {2: READY}, Plan(load=(3, 1)), id="highest-first"),
        pytest.param({2}, {1: UNLOADING, 2: READY}, Plan(), id="already-going"),
    ],
)
def test_plan(wanted: set[int], phases: dict[int, Phase], expected: Plan) -> None:
    """New versions load before old ones go, and nothing that works goes for something that does not."""
    assert plan(wanted, phases) == expected


@given(
    st.dictionaries(st.integers(1, 6), st.sampled_from(Phase)),
    st.frozensets(st.integers(1, 6), min_size=1),
)
def test_the_last_ready_version_stays_until_a_wanted_one_is_ready(
    phases: dict[int, Phase], wanted: frozenset[int]
) -> None:
    """While something is wanted, no plan leaves a model that has a ready version without one."""
    ready = {version for version, phase in phases.items() if phase is READY}
    after = ready - set(plan(wanted, phases).unload)
    assert after or not ready
    assert ready & wanted <= after
