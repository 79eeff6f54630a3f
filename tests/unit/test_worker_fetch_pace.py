"""When Kafka is asked for frames again: early enough for the next batch, and no earlier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.fetch_pace import CROWDED, ORDINARY, Demand, FetchPace


@pytest.mark.parametrize(
    "demand",
    [
        Demand(0.0, 32),
        Demand(-1.0, 32),
        Demand(float("-inf"), 32),
        Demand(0.5, 0),
        Demand(0.5, -3),
        Demand(0.008, 8),
    ],
    ids=["due now", "overdue", "idle", "full", "more than full", "due soon"],
)
def test_a_frame_that_could_leave_is_asked_for_at_once(demand: Demand) -> None:
    """Where the device could take a frame, or nothing more is wanted, no fetch is put off."""
    assert FetchPace().rest_s(demand, 0.0) == 0


def test_fetches_are_not_sent_frame_by_frame() -> None:
    """Where frames come at every moment, those of 3 ms share a fetch; after a pause none waits."""
    pace = FetchPace()
    pace.asked(5.0)
    assert pace.rest_s(Demand(0.0, 32), 5.001) == pytest.approx(0.002)
    assert pace.rest_s(Demand(0.0, 32), 5.003) == pytest.approx(0.0)
    assert pace.rest_s(Demand(0.0, 32), 6.0) == 0


def test_while_the_device_is_busy_nothing_is_asked_until_shortly_before_the_batch_leaves() -> None:
    """The rest ends a margin before that."""
    pace = FetchPace()
    assert pace.rest_s(Demand(0.05, 20), 0.0) == pytest.approx(0.05 - pace.margin_s)


def test_a_long_call_puts_no_fetch_off_for_long() -> None:
    """A model that takes seconds, or never answers, does not keep the worker from hearing of Kafka."""
    pace = FetchPace()
    assert pace.rest_s(Demand(60.0, 8), 7.0) == pytest.approx(0.5)
    assert pace.rest_s(Demand(60.0, 8), 7.3) == pytest.approx(0.2)
    assert pace.rest_s(Demand(60.0, 8), 7.6) == 0
    pace.asked(7.6)
    assert pace.rest_s(Demand(60.0, 8), 7.7) == pytest.approx(0.5)


def test_what_was_fetched_without_room_for_it_delays_the_others_less() -> None:
    """Where a partition has no room, its own fetch and the others' wait for each other only shortly."""
    assert CROWDED.hold_ms <= ORDINARY.hold_ms / 10
    assert CROWDED.unread_s <= ORDINARY.unread_s / 10


def _ask_behind_a_rest(pace: FetchPace, now_s: float) -> None:
    assert pace.rest_s(Demand(0.2, 8), now_s - 0.1) > 0
    pace.asked(now_s)


def _fetches(pace: FetchPace, took_s: float, count: int = 100) -> float:
    """The margin after so many fetches, each behind a rest, that took so long."""
    for number in range(count):
        _ask_behind_a_rest(pace, number)
        pace.answered(number + took_s, 4)
    return pace.margin_s


def test_slow_fetches_widen_the_margin_and_quick_ones_narrow_it() -> None:
    """The margin follows what a fetch takes here, up and down."""
    pace = FetchPace()
    first_s = pace.margin_s
    wide_s = _fetches(pace, 0.025)
    assert 0.025 < wide_s < 0.03
    assert wide_s > first_s
    narrow_s = _fetches(pace, 0.001, 1_000)
    assert 0.001 < narrow_s < first_s


def test_the_margin_suits_nearly_all_fetches_and_not_the_slowest() -> None:
    """One in a hundred that found nothing and waited for a frame does not make all others too early."""
    pace = FetchPace()
    for number in range(2_000):
        _ask_behind_a_rest(pace, number)
        pace.answered(number + (0.4 if number % 100 == 0 else 0.002 + 0.002 * (number % 2)), 4)
    assert 0.004 < pace.margin_s < 0.01


def test_a_fetch_without_a_rest_before_it_says_nothing() -> None:
    """It may have waited at Kafka for its first frame, which is no time that a fetch takes."""
    pace = FetchPace()
    before_s = pace.margin_s
    pace.asked(0.0)
    pace.answered(0.3, 4)
    assert pace.margin_s == before_s


def test_a_frame_alone_may_be_one_that_the_fetch_had_to_wait_for() -> None:
    """Where few frames come, many fetches find nothing: that makes none of them earlier."""
    pace = FetchPace()
    before_s = pace.margin_s
    for number in range(100):
        _ask_behind_a_rest(pace, number)
        pace.answered(number + 0.03, 1)
    assert pace.margin_s == before_s


def test_of_several_brokers_the_slow_one_counts() -> None:
    """Each answers by itself; frames of the slower one are to be in time as well."""
    pace = FetchPace()
    for number in range(400):
        assert pace.rest_s(Demand(0.2, 8), number - 0.1) > 0
        pace.asked(number, brokers=3)
        for took_s in (0.002, 0.003, 0.02):
            pace.answered(number + took_s, 2)
            pace.asked(number + took_s, brokers=1)
    assert 0.02 < pace.margin_s < 0.03


def test_a_machine_that_wakes_up_late_is_allowed_for() -> None:
    """What a fetch takes begins when the rest was to end."""
    pace = FetchPace()
    for number in range(200):
        rest_s = pace.rest_s(Demand(0.2, 8), number)
        pace.asked(number + rest_s + 0.01)
        pace.answered(number + rest_s + 0.012, 4)
    assert pace.margin_s > 0.012


def test_beside_a_backlog_the_others_frames_are_wanted_in_the_next_batch_and_no_sooner() -> None:
    """A full batch wants nothing: what has room is read at once, but not where a backlog fills it."""
    full = Demand(0.1, -20)
    assert FetchPace().rest_s(full, 0.0) == 0
    beside_s = FetchPace().rest_s(full, 0.0, crowded=True)
    assert 0.05 < beside_s < 0.1 - FetchPace().margin_s - 0.02, "the backlog comes along, and takes its time"


def test_only_the_first_answer_of_a_fetch_tells_what_it_took() -> None:
    """What comes later came of other brokers, or of the fetches behind it."""
    once, twice = FetchPace(), FetchPace()
    for pace in (once, twice):
        _ask_behind_a_rest(pace, 0.0)
        pace.answered(0.002, 4)
    twice.answered(0.4, 4)
    assert once.margin_s == twice.margin_s


def test_frames_come_early_enough_to_be_decoded() -> None:
    """What their decode takes comes on top of the margin."""
    pace = FetchPace()
    plain_s = pace.rest_s(Demand(0.3, 32), 0.0)
    assert pace.rest_s(Demand(0.3, 32, 0.12), 0.0) == pytest.approx(plain_s - 0.12)
    assert pace.rest_s(Demand(0.1, 32, 0.2), 0.0) == 0


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 2),
            st.integers(-4, 64),
            st.floats(0, 1),
            st.booleans(),
            st.floats(0, 1),
            st.booleans(),
        )
    )
)
def test_no_rest_ever_lasts_until_the_batch_leaves(
    steps: list[tuple[float, int, float, bool, float, bool]],
) -> None:
    """What a rest puts off is asked for before the batch leaves, or 3 ms after the fetch before."""
    pace, now_s, sent_s = FetchPace(), 0.0, -1.0
    for due_in_s, rows, decode_s, asked, later_s, answered in steps:
        rest_s = pace.rest_s(Demand(due_in_s, rows, decode_s), now_s)
        assert rest_s == 0 or 0 < rest_s < due_in_s - decode_s or rest_s == sent_s + 0.003 - now_s
        if asked:
            pace.asked(now_s)
            sent_s = now_s
        now_s += later_s
        if answered:
            pace.answered(now_s, 2)
        assert 0 < pace.margin_s <= 0.05
