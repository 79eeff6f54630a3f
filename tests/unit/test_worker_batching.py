"""Which frames share a call, what the device costs, how long to wait: batching, device, backoff."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.backoff import Backoff, Deadline
from riverlens_worker.batching import LatencyTarget, Limits, OpenBatches
from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.messages import BatchReason
from tests.worker_parts import decoded, examples

SHAPES = [(320, 320), (480, 640), ()]
ROWS = st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(1, 400), st.booleans()), max_size=60)


@examples(250)
@given(ROWS, st.integers(1, 8), st.integers(1, 600))
def test_batches_keep_the_limits_and_lose_nothing(
    rows: list[tuple[tuple[int, ...], int, bool]], max_rows: int, max_bytes: int
) -> None:
    """One shape a batch, at most so many rows and bytes, the longest waiting first, each frame once."""
    waiting = OpenBatches(Limits(max_rows, max_bytes))
    inside: list[int] = []
    shapes: dict[int, tuple[int, ...]] = {}
    out: list[int] = []

    def take() -> None:
        batch = waiting.take(1.0)
        assert batch is not None
        offsets = [frame.source.offset for frame in batch.frames]
        assert {frame.shape for frame in batch.frames} == {shapes[offsets[0]]}
        assert len(offsets) <= max_rows
        nbytes = sum(frame.nbytes for frame in batch.frames)
        assert nbytes <= max_bytes or len(offsets) == 1
        assert offsets[0] == min(inside), "the longest waiting frame leads"
        same = [n for n in inside if shapes[n] == shapes[offsets[0]]]
        assert offsets == same[: len(offsets)], "frames of one shape leave in the order they came"
        if batch.reason is BatchReason.FULL:
            assert len(offsets) == max_rows
        assert (batch.reason is BatchReason.BYTES) == (len(offsets) < min(max_rows, len(same)))
        for offset in offsets:
            inside.remove(offset)
        out.extend(offsets)

    for number, (shape, nbytes, then_take) in enumerate(rows):
        shapes[number] = shape
        inside.append(number)
        waiting.add(decoded(number, shape=shape, nbytes=nbytes, ready_s=float(number)))
        assert len(waiting) == len(inside)
        if then_take:
            take()
    while inside:
        take()
    assert waiting.take(1.0) is None
    assert len(waiting) == 0
    assert sorted(out) == list(range(len(rows)))


@pytest.mark.parametrize(
    ("rows", "draining", "reason"),
    [
        ([((), 10)], False, BatchReason.DEVICE_FREE),
        ([((), 10)], True, BatchReason.DRAIN),
        ([((), 10)] * 4, False, BatchReason.FULL),
        ([((), 10)] * 4, True, BatchReason.FULL),
        ([((), 60), ((), 60)], False, BatchReason.BYTES),
        ([((1, 1), 10), ((2, 2), 10)], False, BatchReason.SHAPE),
        ([((), 5000)], False, BatchReason.DEVICE_FREE),
    ],
)
def test_each_batch_says_why_it_left(
    *, rows: list[tuple[tuple[int, ...], int]], draining: bool, reason: BatchReason
) -> None:
    """Full, out of bytes, split by shape, drained, or simply because the device was free."""
    waiting = OpenBatches(Limits(rows=4, nbytes=100))
    for number, (shape, nbytes) in enumerate(rows):
        waiting.add(decoded(number, shape=shape, nbytes=nbytes, ready_s=float(number)))
    batch = waiting.take(7.5, draining=draining)
    assert batch is not None
    assert batch.reason is reason
    assert batch.sealed_s == 7.5


@examples(60)
@given(
    st.floats(0, 0.05),
    st.floats(0.0002, 0.01),
    st.floats(0, 0.1),
    st.lists(st.integers(1, 32), min_size=150, max_size=150).filter(lambda rows: len(set(rows)) > 8),
    st.randoms(use_true_random=False),
)
def test_the_fit_recovers_the_devices_cost(
    a: float, b: float, noise: float, rows: list[int], chance: random.Random
) -> None:
    """From answers with some per cent of noise: the predicted time of a full batch is right to 15 %."""
    fit = ServiceTimeFit()
    for count in rows:
        fit.add(count, (a + b * count) * chance.uniform(1 - noise, 1 + noise))
    cost = fit.cost()
    assert cost is not None
    assert min(cost) >= 0
    assert cost[0] + 16 * cost[1] == pytest.approx(a + 16 * b, rel=0.15)
    if noise == 0:
        assert cost[0] + 32 * cost[1] == pytest.approx(a + 32 * b, rel=0.05)
    assert fit.rows_per_s(32) == pytest.approx(32 / (cost[0] + 32 * cost[1]))


def test_the_first_answer_of_a_row_count_does_not_count() -> None:
    """A new row count is slow once, while the server traces; the fit leaves that answer out."""
    fit = ServiceTimeFit()
    for rows in (8, 16):
        fit.add(rows, 1.0)
        assert fit.cost() is None or rows == 16
        fit.add(rows, 0.020 + 0.003 * rows)
    assert fit.cost() == pytest.approx((0.020, 0.003), rel=0.05)


def test_an_unknown_device_has_no_rate_and_one_row_count_gives_a_cost_per_row() -> None:
    """No answer, no figure; with a single row count all the cost is taken to be per row."""
    fit = ServiceTimeFit()
    assert fit.cost() is None
    assert fit.rows_per_s(32) is None
    for _ in range(5):
        fit.add(8, 0.08)
    assert fit.cost() == pytest.approx((0.0, 0.01))
    assert fit.rows_per_s(32) == pytest.approx(100)


def test_row_counts_that_hardly_differ_do_not_promise_a_faster_device() -> None:
    """Calls of one or two rows with noise: the ceiling is guessed near that of single rows, not far above."""
    fit = ServiceTimeFit()
    chance = random.Random(7)  # noqa: S311  # no secret
    for _ in range(300):
        rows = 1 if chance.random() < 0.95 else 2
        fit.add(rows, 0.010 * chance.uniform(0.5, 1.5))
    ceiling = fit.rows_per_s(32)
    assert ceiling is not None
    assert 80 < ceiling < 160


@pytest.mark.parametrize("times", [3.0, 1 / 3, 1.5])
def test_a_device_that_changes_as_a_whole_is_known_again_after_four_answers(times: float) -> None:
    """Though they are all of one size: what rows cost among each other is known from before."""
    fit = ServiceTimeFit()
    for rows in [*range(1, 33)] * 2:
        fit.add(rows, 0.020 + 0.003 * rows)
    found = [fit.add(8, times * 0.044) for _ in range(4)]
    assert found == pytest.approx([1, 1, 1, times])
    assert fit.cost() == pytest.approx((0.020 * times, 0.003 * times), rel=0.05)


def test_a_device_whose_calls_cost_more_otherwise_is_known_by_the_new_answers_alone() -> None:
    """Rows that became dearer, calls that did not: no proportion holds, and no earlier answer counts."""
    fit = ServiceTimeFit()
    for rows in [*range(1, 33)] * 2:
        fit.add(rows, 0.020 + 0.001 * rows)
    for rows in (8, 32, 20, 12, 28, 30, 16, 24) * 2:
        assert fit.add(rows, 0.020 + 0.004 * rows) == 1
    assert fit.cost() == pytest.approx((0.020, 0.004), rel=0.1)


def test_answers_of_one_size_that_only_looked_in_proportion_do_no_lasting_harm() -> None:
    """Rows became dearer, calls did not; twelve of one size after the other. Nothing is scaled to and fro."""
    fit = ServiceTimeFit()
    for rows in [*range(1, 33)] * 2:
        fit.add(rows, 0.020 + 0.001 * rows)
    off = 0
    for phase in range(10):
        for rows in [32] * 12 if phase % 2 == 0 else [1, 2, 3] * 4:
            cost_s = 0.020 + 0.004 * rows
            off += abs((fit.seconds(rows) or 0) - cost_s) > 0.2 * cost_s
            fit.add(rows, cost_s)
    assert off < 20
    assert fit.cost() == pytest.approx((0.020, 0.004), rel=0.1)


def test_where_others_use_the_device_no_proportion_is_believed() -> None:
    """Their calls make answers late alike, too: then the new ones alone count, and it takes more of them."""
    fit = ServiceTimeFit()
    for rows in [*range(1, 33)] * 2:
        fit.add(rows, 0.020 + 0.003 * rows)
    assert [fit.add(8, 3 * 0.044, ours=False) for _ in range(6)] == [1] * 6
    assert len(fit) == 6


@examples()
@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(1, 1000), st.floats(1, 10))
def test_delays_stay_within_their_bounds(attempt: int, chance: float, first: float, times: float) -> None:
    """A delay is at least half of the ceiling, at most the ceiling, and the ceiling never falls."""
    backoff = Backoff(first_ms=first, limit_ms=first * times)
    delay_ms = backoff.delay_s(attempt, chance) * 1000
    assert first / 2 * 0.999 <= delay_ms <= first * times * 1.001
    ceilings = [backoff.delay_s(n, 1.0) for n in range(1, 40)]
    assert all(low <= high for low, high in pairwise(ceilings))


def test_a_deadline_is_one_budget() -> None:
    """What one step of a stop uses is gone for the next, and it never goes below zero."""
    deadline = Deadline.after(2.0, now_s=10.0)
    assert [deadline.remaining_s(now) for now in (10.0, 11.5, 12.0, 99.0)] == [2.0, 0.5, 0.0, 0.0]


COST = (0.020, 0.003)


@pytest.mark.parametrize(
    ("most_ms", "cost", "age_s", "rows"),
    [
        (None, COST, 0.0, None),
        (100, None, 0.0, None),
        (100, COST, 0.0, 26),
        (100, COST, 0.050, 10),
        (100, COST, 0.077, 1),
        (100, COST, 0.090, None),
        (100, COST, 5.0, None),
        (100, (0.02, 0.0), 0.0, None),
    ],
    ids=[
        "no target",
        "no cost",
        "fresh",
        "half gone",
        "just one",
        "too late for one",
        "long gone",
        "free rows",
    ],
)
def test_a_latency_target_allows_so_many_rows(
    most_ms: float | None, cost: tuple[float, float] | None, age_s: float, rows: int | None
) -> None:
    """As many rows as are answered in what the oldest frame has left; no limit where nothing can save it."""
    assert LatencyTarget(most_ms, lambda: cost).rows(age_s) == rows


def test_a_batch_is_cut_for_its_oldest_frame() -> None:
    """Its reason says so; the rows left out wait for the next call, and a batch that fits is not cut."""
    target = LatencyTarget(100, lambda: COST)
    open_batches = OpenBatches(Limits(32, 1_000_000), target=target)
    for offset in range(20):
        open_batches.add(decoded(offset, ready_s=1.0))
    oldest = decoded(0).source
    now_s = oldest.arrived_s - oldest.broker_ms / 1000 + 0.050
    batch = open_batches.take(now_s)
    assert batch is not None
    assert (len(batch.frames), batch.reason) == (10, BatchReason.DEADLINE)
    batch = open_batches.take(now_s)
    assert batch is not None
    assert (len(batch.frames), batch.reason) == (10, BatchReason.DEVICE_FREE)
