"""Odd answers in simulated time: a busy machine's, which tell nothing of the server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riverlens_worker.overlap import Overlap
from tests.harness.dispatching import Device
from tests.harness.pairs import told
from tests.unit.test_worker_dispatch import FAST, compared


def _with_bad_moments(at_s: float) -> float:
    return 1.5 if at_s % 4 < 0.15 else 1.0


@pytest.mark.parametrize(
    ("device", "most"),
    [
        (replace(FAST, noise=0.4), 60),
        (replace(FAST, slower=_with_bad_moments), 20),
    ],
    ids=["busy", "bad moments"],
)
def test_answers_that_are_odd_by_chance_send_few_pairs(
    device: Device, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After pairs that showed nothing new others come seldom; so after a moment that taught a wrong cost."""
    pairs: list[bool] = []
    left = Overlap.left

    def noted(overlap: Overlap, *, pair: bool) -> None:
        pairs.append(pair)
        left(overlap, pair=pair)

    monkeypatch.setattr(Overlap, "left", noted)
    compared(device, 0.6, cycles=1250, seed=1)
    assert len(pairs) > 1500
    assert sum(pairs) <= most


def _pairs_apart(overlap: Overlap, error: float, count: int) -> list[int]:
    """Calls before each of so many pairs, which show nothing new, while answers are off by `error`."""
    apart: list[int] = []
    calls = 0
    while len(apart) < count:
        pair = overlap.pair_due(error=error)
        overlap.left(pair=pair)
        calls += 1
        if pair:
            apart.append(calls - 1)
            calls = 0
            overlap.judge(told(0.04))
    return apart


def test_odd_answers_send_ever_fewer_pairs_but_very_odd_ones_do() -> None:
    """What a busy machine explains is looked into less and less often; what it does not, at once."""
    overlap = Overlap(8)
    assert _pairs_apart(overlap, 0.0, 4) == [8, 16, 32, 512]
    assert _pairs_apart(overlap, 0.2, 5) == [16, 16, 32, 64, 64]
    assert _pairs_apart(overlap, 0.6, 2) == [16, 16]


def test_where_others_are_found_the_first_odd_answer_is_believed_again() -> None:
    """What was explained away before was no odd answer of theirs."""
    overlap = Overlap(8)
    _pairs_apart(overlap, 0.0, 4)
    _pairs_apart(overlap, 0.2, 5)
    assert not overlap.hurry()
    for _ in range(2):
        overlap.judge(told(0.04, device_s=0.16))
        for _ in range(24):
            overlap.left(pair=False)
    assert overlap.shared
    overlap.ours_again()
    overlap.judge(told(0.04))
    assert overlap.hurry()
