"""How much sooner full batches leave: as late as keeps the device busy."""

from __future__ import annotations

import random

import pytest

from riverlens_worker.lead import Lead

DEVICE_S = 0.116
"""32 rows at 20 + 3n ms."""


def _settled(late_ms: float, calls: int = 400) -> tuple[float, float]:
    """Mean early departure (s) and idle share of the later half, where calls are late by up to `late_ms`."""
    dice = random.Random(1)  # noqa: S311  # the same lateness in each run
    lead = Lead()
    early_s, idle = [], []
    for _ in range(calls):
        early_s.append(lead.early_s(DEVICE_S))
        waited_s = early_s[-1] - dice.uniform(0, late_ms / 1000)
        idle.append(waited_s < 0)
        lead.waited_full(max(0.0, waited_s))
    half = calls // 2
    return sum(early_s[half:]) / half, sum(idle[half:]) / half


@pytest.mark.parametrize("late_ms", [0.5, 3, 10])
def test_full_calls_leave_about_as_early_as_they_may_be_late(late_ms: float) -> None:
    """Seldom too late, and no sooner than that takes: a quiet camera's row joins until then."""
    early_s, idle = _settled(late_ms)
    assert idle < 0.2
    assert early_s < late_ms / 1000 + 0.003


def test_however_late_no_call_leaves_sooner_than_a_part_of_its_time() -> None:
    """A machine that stands still for long is no reason to send calls ahead."""
    early_s, _ = _settled(80)
    assert early_s <= 0.2 * DEVICE_S + 0.01 + 1e-9
