"""Whether a server merges calls is told by answers that come together, unless those do so by coincidence."""

from __future__ import annotations

import random

from riverlens_worker.expectation import Call
from riverlens_worker.window import Window


def calls_until_merged(took_s: float, gaps_s: list[float], apart_s: float) -> int | None:
    """Of calls that left `apart_s` apart, or more, and were answered so long after each other."""
    window, answered_s = Window(), 0.0
    for number, gap_s in enumerate(gaps_s):
        answered_s += gap_s
        early_s = 0.0 if number % 2 else apart_s
        call = Call(4, answered_s - took_s - early_s)
        call.answered_s = answered_s
        window.answered(call, 0.0)
        if window.merged:
            return number
    return None


def _gaps(share_together: float, else_s: float, count: int = 2000) -> list[float]:
    """Answers that come at once in some cases, else up to twice `else_s` after each other."""
    dice = random.Random(5)  # noqa: S311  # the same in each run
    return [0.0009 if dice.random() < share_together else dice.uniform(0, 2 * else_s) for _ in range(count)]


def test_a_merging_server_is_known_by_a_quarter_of_the_answers() -> None:
    """Four workers' calls share its batches, so few of each are of one worker."""
    merged = calls_until_merged(0.070, _gaps(0.25, 0.030), apart_s=0.02)
    assert merged is not None
    assert merged < 120


def test_answers_together_by_coincidence_are_no_sign_of_merging() -> None:
    """Several devices: slow ones, whose answers seldom meet, and fast ones, whose answers often do."""
    assert calls_until_merged(0.070, _gaps(0.0, 0.018), apart_s=0.02) is None
    assert calls_until_merged(0.008, _gaps(0.0, 0.002), apart_s=0.003) is None


def test_a_server_that_merges_no_longer_is_found_out() -> None:
    """Its answers come together as often as by coincidence for some time."""
    window, answered_s = Window(), 0.0
    states = []
    for number, gap_s in enumerate([*_gaps(0.5, 0.030, 200), *_gaps(0.0, 0.030, 400)]):
        answered_s += gap_s
        call = Call(4, answered_s - 0.07 - (0.0 if number % 2 else 0.02))
        call.answered_s = answered_s
        window.answered(call, 0.0)
        states.append(window.merged)
    assert states[199]
    assert not states[-1]
