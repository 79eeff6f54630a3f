"""Pairs where others share the server, and where a batch cannot be one."""

from __future__ import annotations

from riverlens_worker.overlap import Overlap
from tests.harness.pairs import told


def _shared() -> Overlap:
    overlap = Overlap(8)
    assert [overlap.judge(told(0.04, device_s=0.16)) for _ in range(2)] == [False, True]
    assert overlap.shared
    return overlap


def _calls_before_a_pair(overlap: Overlap, pairs: int) -> int:
    """Single calls until the next pair is due; `pairs`: so many told the cost."""
    for calls in range(1_000):
        if overlap.pair_due(error=0.0, told=pairs):
            return calls
        overlap.left(pair=False)
    raise AssertionError("no pair was ever due")


def test_a_batch_of_one_row_leaves_the_pair_to_the_next_one() -> None:
    """It has no twin, so it is no pair; waiting the whole distance again would keep the cost unknown."""
    overlap = Overlap(8)
    assert _calls_before_a_pair(overlap, pairs=0) == 8
    assert overlap.first_rows(1) == 1
    assert not overlap.pair_due(error=0.0)
    overlap.left(pair=False)
    assert overlap.pair_due(error=0.0)
    assert overlap.first_rows(6) == 3
    assert overlap.pair_due(error=0.0)


def test_who_finds_others_soon_learns_the_cost_again() -> None:
    """What was learnt of it before was partly theirs; until it is known no turns can be taken."""
    assert _calls_before_a_pair(_shared(), pairs=0) == 4
    assert _calls_before_a_pair(_shared(), pairs=1) == 4
    assert _calls_before_a_pair(_shared(), pairs=2) == 8


def test_a_cost_that_one_pair_confirmed_is_doubted_sooner_than_one_that_many_did() -> None:
    """Two pairs that show others count when they come apart: the more so, the better the cost was known."""
    distances = []
    for confirmations in (1, 4):
        overlap = Overlap(8)
        for _ in range(confirmations):
            overlap.judge(told(0.04))
        overlap.judge(told(0.04, device_s=0.16))
        calls = 0
        while not overlap.shared:
            overlap.left(pair=False)
            calls += 1
            overlap.judge(told(0.04, device_s=0.16))
        distances.append(calls)
    assert distances == [8, 24]
