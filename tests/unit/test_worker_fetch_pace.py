"""How long Kafka may collect frames: never past the time when the next batch leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.fetch_pace import ORDINARY, Demand, FetchPace


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
