"""How long Kafka may collect frames: never past the time when the next batch leaves."""

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
        Demand(0.01, 8),
    ],
    ids=["due now", "overdue", "idle", "full", "more than full", "due soon"],
)
def test_a_frame_that_could_leave_is_not_held(demand: Demand) -> None:
    """Where the device could take a frame, or nothing more is wanted, the first frame is answered at once."""
    assert FetchPace().terms(demand, 0.0) == ORDINARY


def test_while_the_device_is_busy_kafka_collects_a_batch() -> None:
    """The answer comes a margin before the batch leaves, or with as many bytes as fill it."""
    pace = FetchPace()
    pace.answered(10, 450_000, 0.0)
    terms = pace.terms(Demand(0.05, 20), 0.0)
    assert terms.hold_ms == pytest.approx(50 - pace.margin_s * 1000, abs=1)
    assert terms.least_bytes == 900_000


def test_a_long_call_holds_no_fetch_longer_than_usual() -> None:
    """A model that takes seconds does not keep the worker from seeing that a partition moved on."""
    assert FetchPace().terms(Demand(60.0, 8), 0.0).hold_ms == ORDINARY.hold_ms


@pytest.mark.parametrize(
    "demand", [Demand(0.0, 8), Demand(0.5, 0), Demand(0.5, 8)], ids=["due", "full", "busy"]
)
def test_where_a_partition_has_no_room_no_fetch_is_held_for_long(demand: Demand) -> None:
    """Once it has room again its own fetch waits for the others' one; that waits for nothing of it."""
    pace = FetchPace()
    assert pace.terms(demand, 0.0, crowded=True).hold_ms <= CROWDED.hold_ms < ORDINARY.hold_ms
    assert pace.terms(demand, 0.0, crowded=True).unread_s < pace.terms(demand, 0.0).unread_s


def test_late_answers_widen_the_margin_and_punctual_ones_narrow_it() -> None:
    """The margin follows how late Kafka and this machine are, up and down."""
    pace = FetchPace()
    first_s = pace.margin_s

    def held(late_s: float) -> None:
        terms = pace.terms(Demand(0.2, 8), 0.0)
        pace.answered(4, 4_000, terms.hold_ms / 1000 + late_s)

    for _ in range(60):
        held(0.012)
    assert pace.margin_s > first_s + 0.005
    wide_s = pace.margin_s
    for _ in range(60):
        held(0.002)
    assert pace.margin_s < min(wide_s, first_s)


def test_an_answer_that_filled_the_batch_early_says_nothing_of_lateness() -> None:
    """Answers before the end of a hold leave the margin as it is."""
    pace = FetchPace()
    before_s = pace.margin_s
    pace.terms(Demand(0.2, 8), 0.0)
    pace.answered(8, 8_000, 0.05)
    assert pace.margin_s == before_s


def test_a_backlog_is_answered_at_once_however_large_the_frames_are() -> None:
    """Kafka counts 1 MiB of a partition at most: more is never asked for, or it would hold what is there."""
    pace = FetchPace()
    pace.answered(10, 4_000_000, 0.0)
    assert pace.terms(Demand(0.3, 32), 0.0).least_bytes == 1024 * 1024


def test_frames_come_early_enough_to_be_decoded() -> None:
    """Where a batch's decode takes longer than the margin leaves for it, its frames come as much earlier."""
    quick, slow = (FetchPace().terms(Demand(0.3, 32, decode_s), 0.0).hold_ms for decode_s in (0.015, 0.12))
    assert quick == FetchPace().terms(Demand(0.3, 32), 0.0).hold_ms
    assert slow == pytest.approx(quick - 100, abs=1)
    assert FetchPace().terms(Demand(0.1, 32, 0.2), 0.0) == ORDINARY


def test_looking_again_while_a_fetch_is_held_changes_nothing_of_what_is_learnt() -> None:
    """The lateness is of the fetch that is under way, whatever would be asked of the next one."""
    looked, plain = FetchPace(), FetchPace()
    for pace in (looked, plain):
        held_s = pace.terms(Demand(0.2, 8), 0.0).hold_ms / 1000
        if pace is looked:
            pace.terms(Demand(0.1, 8), 0.1)
            pace.terms(Demand(0.0, 8), held_s)
        pace.answered(4, 4_000, held_s + 0.03)
    assert looked.margin_s == plain.margin_s > FetchPace().margin_s


def test_a_frame_long_after_a_hold_was_not_kept_by_it() -> None:
    """A held fetch that brought nothing is over; the next answer says nothing of how late it came."""
    pace = FetchPace()
    before_s = pace.margin_s
    pace.terms(Demand(0.2, 8), 0.0)
    pace.answered(1, 1_000, 5.0)
    assert pace.margin_s == before_s


@given(
    st.lists(
        st.tuples(
            st.floats(-1, 2), st.integers(-4, 64), st.integers(1, 64), st.integers(0, 10**7), st.floats(0, 1)
        )
    )
)
def test_no_hold_ever_ends_after_the_batch_leaves(
    steps: list[tuple[float, int, int, int, float]],
) -> None:
    """Whatever came before, a hold is over before the batch leaves, and asks for at least one byte."""
    pace, now_s = FetchPace(), 0.0
    for due_in_s, rows, frames, nbytes, later_s in steps:
        terms = pace.terms(Demand(due_in_s, rows), now_s)
        assert terms.least_bytes >= 1
        assert terms == ORDINARY or 0 < terms.hold_ms / 1000 < due_in_s
        now_s += later_s
        pace.answered(frames, nbytes, now_s)
