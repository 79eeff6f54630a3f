"""How long before an answer the next call leaves, and how much sooner a full one: to keep the device busy."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from riverlens_worker.lead import WAIT_S, FullLead, Lead

DEVICE_S = 0.116
"""32 rows at 20 + 3n ms."""
MOST_S = 0.2 * DEVICE_S + 0.01


def _saturated(late_ms: float, sending_ms: float = 0.0, calls: int = 1_000) -> tuple[float, float]:
    """Mean early departure and mean idle time of the later half, in seconds.

    Calls are late by up to `late_ms`, and full ones take `sending_ms` longer than is known.
    """
    dice = random.Random(1)  # noqa: S311  # the same lateness in each run
    lead = FullLead()
    early_s, idle_s = [lead.seconds(DEVICE_S)], []
    for _ in range(calls):
        # The next one leaves before this one is answered.
        early_s.append(lead.seconds(DEVICE_S))
        spare_s = early_s[-2] - dice.uniform(0, late_ms / 1000)
        waited_s = spare_s - sending_ms / 1000
        idle_s.append(max(0.0, -waited_s))
        lead.answered(DEVICE_S + idle_s[-1], max(0.0, waited_s) + sending_ms / 1000)
    half = calls // 2
    return sum(early_s[half:]) / half, sum(idle_s[half:]) / half


@pytest.mark.parametrize("late_ms", [0.5, 3, 10])
@pytest.mark.parametrize("sending_ms", [0, 8, 16])
def test_full_calls_leave_about_as_early_as_they_come_late(late_ms: float, sending_ms: float) -> None:
    """The device stands idle for less than two per cent; a quiet camera's row joins until then."""
    early_s, idle_s = _saturated(late_ms, sending_ms)
    assert idle_s < 0.02 * DEVICE_S
    assert early_s < (late_ms + sending_ms) / 1000 + 0.005


@pytest.mark.parametrize(("late_ms", "sending_ms"), [(80, 0), (0, 80)])
def test_however_late_no_call_leaves_sooner_than_a_part_of_its_time(
    late_ms: float, sending_ms: float
) -> None:
    """A machine that stands still for long is no reason to send calls ahead."""
    early_s, _ = _saturated(late_ms, sending_ms)
    assert early_s <= MOST_S + 1e-9


def test_a_slower_device_is_not_taken_for_calls_that_come_late() -> None:
    """Answers take longer from one call on: the lead goes up, learns what they take now, and comes down."""
    lead = FullLead()
    for times in (1, 2):
        for _ in range(200):
            early_s = lead.seconds(times * DEVICE_S)
            lead.answered(times * DEVICE_S, early_s)
        assert lead.seconds(times * DEVICE_S) < 0.004


def test_an_answer_that_came_late_makes_no_other_call_leave_sooner() -> None:
    """The one behind it seems quick for that: it says nothing of the device."""
    lead = FullLead()
    for _ in range(200):
        lead.answered(DEVICE_S, lead.seconds(DEVICE_S))
    before_s = lead.about_s(DEVICE_S)
    for gap_s in (DEVICE_S + 0.02, DEVICE_S - 0.02, *[DEVICE_S] * 10):
        lead.answered(gap_s, lead.seconds(DEVICE_S))
    assert lead.about_s(DEVICE_S) < before_s + 0.0012


@pytest.mark.parametrize("first_s", [0.2, 1.0])
def test_a_slow_first_answer_hides_no_idle_device(first_s: float) -> None:
    """A server that loads something meanwhile is not what its calls cost."""
    dice = random.Random(1)  # noqa: S311  # the same lateness in each run
    lead, idle_s = FullLead(), 0.0
    lead.seconds(DEVICE_S)
    lead.answered(DEVICE_S + first_s, 0.01)
    for _ in range(250):
        waited_s = lead.seconds(DEVICE_S) - dice.uniform(0, 0.003) - 0.016
        lead.answered(DEVICE_S + max(0.0, -waited_s), max(0.0, waited_s) + 0.016)
        idle_s += max(0.0, -waited_s)
    assert idle_s < 0.03 * 250 * DEVICE_S


def test_now_and_then_a_call_surely_waits() -> None:
    """It tells what the device takes: whatever was thought of it, that is put right."""
    lead = FullLead()
    sooner = 0
    for _ in range(1_000):
        early_s = lead.seconds(DEVICE_S)
        sooner += early_s == pytest.approx(MOST_S)
        lead.answered(DEVICE_S, early_s)
    assert 5 <= sooner <= 20


def _just_in_time(busier_ms: float, jitter_ms: float = 0.0, calls: int = 1_000) -> tuple[float, float]:
    """Means of the later half, in seconds: how long the device stood idle, how long calls waited there.

    The way to it and back takes `busier_ms` longer than free calls once told; answers are read late by up to
    `jitter_ms`.
    """
    dice = random.Random(1)  # noqa: S311  # the same jitter in each run
    lead, way_s, read_s = Lead(), 0.002, 0.0
    idle_s, waits_s = [], []
    for _ in range(calls):
        slack_s = lead.seconds - way_s - busier_ms / 1000 - read_s
        idle_s.append(max(0.0, -slack_s))
        waits_s.append(max(0.0, slack_s))
        before_s, read_s = read_s, dice.uniform(0, jitter_ms / 1000)
        lead.stood_idle(idle_s[-1] + read_s - before_s)
        lead.waited(waits_s[-1] + busier_ms / 1000 + read_s, wanting=False)
    half = calls // 2
    return sum(idle_s[half:]) / half, sum(waits_s[half:]) / half


@pytest.mark.parametrize("busier_ms", [1, 3, 8])
def test_a_busier_machine_keeps_no_device_idle(busier_ms: float) -> None:
    """A longer way looks like a wait at the server; that answers come late all the same tells them apart."""
    idle_s, waits_s = _just_in_time(busier_ms)
    assert idle_s < 0.001
    assert waits_s < 0.001


def test_jitter_alone_makes_no_call_leave_sooner() -> None:
    """Answers read late by chance bring the next ones nearer: on average the device was not idle."""
    idle_s, waits_s = _just_in_time(0, jitter_ms=0.6)
    assert idle_s < 0.0003
    assert waits_s < 1.5 * WAIT_S


def test_one_long_break_counts_as_a_short_one() -> None:
    """Whatever kept a single answer for a second, it was not a call that came a second too late."""
    lead = Lead()
    before_s = lead.seconds
    lead.stood_idle(1.0)
    assert lead.seconds - before_s < 0.0002


def _held_after(hold_s: float, waits_s: Sequence[float], *, device_s: float, timed: bool = True) -> float:
    """How long calls are held back after such waits, from `hold_s` on; all left when they were due."""
    lead = Lead()
    for _ in range(40):
        # Larger steps are of the first turns alone.
        lead.waited_in_turn(0.0, device_s, held=True, timed=True)
    lead.seconds = -hold_s
    for waited_s in waits_s:
        lead.waited_in_turn(waited_s, device_s, held=True, timed=timed)
    return -lead.seconds


def test_who_comes_more_seldom_than_others_comes_sooner() -> None:
    """Twice while another comes three times: waits are now long, now short, and right by their mean."""
    assert _held_after(0.116, [0.040, 0.002] * 10, device_s=0.041) < 0.105


def test_who_comes_twice_as_often_as_others_holds_back_more() -> None:
    """Every other call finds the server nearly free; the others wait behind all that others send."""
    assert _held_after(0.033, [0.050, 0.004] * 10, device_s=0.032) > 0.045


def test_who_is_held_back_equally_waits_for_a_moment() -> None:
    """Even turns of four: after an answer the other three come, and a small part of a call is waited for."""
    assert _held_after(0.095, [0.011] * 40, device_s=0.040) == pytest.approx(0.095, abs=0.003)
    assert _held_after(0.095, [0.025] * 40, device_s=0.040) > 0.105
    assert _held_after(0.095, [0.002] * 40, device_s=0.040) < 0.085


def test_who_hardly_holds_back_does_not_forget_others_between_two_of_their_calls() -> None:
    """Most calls find the server free, as another client's comes to every third one alone."""
    assert _held_after(0.001, [0.0, 0.0, 0.060] * 5, device_s=0.040) > 0.010


def test_a_call_held_back_for_nothing_or_full_makes_the_next_ones_leave_sooner() -> None:
    """The server had nothing to do, or the batch could not grow any more."""
    assert _held_after(0.1, [0.0] * 10, device_s=0.040) < 0.05
    assert _held_after(0.1, [0.02] * 10, device_s=0.040, timed=False) < 0.05
