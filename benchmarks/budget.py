"""How long scenarios take. Pure: what `--list` tells, and the test that `make bench` stays bearable."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scenario import Scenario

_START_S = {"riverlens": 1.2}
"""Until a stack is ready; others' consumers join without looking at the model."""
_OTHER_START_S = 0.6
_DEVICE_S = 0.6
_SETTLE_S = 2.0
"""After the last event: that no more come, the reading of all events, the processes' end."""
_ONE_START_S = 5.0
_FILLED_A_S = 1500.0
_BROKER_S = 6.0
_LIMIT_TIMES, _LIMIT_PLUS_S = 2.0, 120.0
"""A run that takes that much longer than estimated is stuck."""


def estimate_s(scenarios: Iterable[Scenario]) -> float:
    """Seconds that a run of these takes on a quiet machine, none of them repeated."""
    found = _BROKER_S
    filled: set[tuple[int, int, int]] = set()
    for scenario in scenarios:
        found += scenario_s(scenario)
        form = (scenario.frames, scenario.partitions, scenario.cameras)
        if scenario.kind == "saturation" and form not in filled:
            filled.add(form)
            found += _filling_s(scenario)
    return found


def scenario_s(scenario: Scenario) -> float:
    """Seconds of one scenario, all its stacks, without the filling of its topic."""
    return sum(_stack_s(scenario, stack) for stack in scenario.stacks)


def limit_s(scenario: Scenario, stack: str) -> float:
    """After so many seconds one run of a stack, with the filling of its topic, is left off."""
    return _LIMIT_TIMES * (_stack_s(scenario, stack) + _filling_s(scenario)) + _LIMIT_PLUS_S


def _filling_s(scenario: Scenario) -> float:
    return scenario.frames / _FILLED_A_S if scenario.kind == "saturation" else 0.0


def _stack_s(scenario: Scenario, stack: str) -> float:
    if scenario.kind == "start":
        return scenario.starts * _ONE_START_S
    around_s = _DEVICE_S + _START_S.get(stack, _OTHER_START_S) + _SETTLE_S
    if scenario.kind == "saturation":
        fastest_s = scenario.frames / scenario.ceiling
        return around_s + (scenario.seconds if stack == "one-by-one" else min(scenario.seconds, fastest_s))
    behind_s = max(0.0, scenario.load - 1) * scenario.seconds if stack != "one-by-one" else 20.0
    return around_s + scenario.seconds + behind_s + scenario.backlog / _FILLED_A_S
