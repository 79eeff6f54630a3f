"""When requests become batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_serving.batching_parameters import BatchingParameters, check_for_load
from riverlens_serving.batching_queue import BatchScheduler, part_sizes
from riverlens_serving.status import Code, ServingError


@dataclass(frozen=True)
class Task:
    """A request of so many rows."""

    rows: int
    name: str = ""

    def split(self, sizes: Sequence[int]) -> Sequence[Task]:
        """Parts of the same name."""
        return [Task(size, self.name) for size in sizes]


def _scheduler(
    max_batch_size: int = 4, timeout_micros: int = 0, max_enqueued_batches: int = 10
) -> BatchScheduler[Task]:
    return BatchScheduler(
        BatchingParameters(
            max_batch_size=max_batch_size,
            batch_timeout_micros=timeout_micros,
            max_enqueued_batches=max_enqueued_batches,
            num_batch_threads=1,
        )
    )


def _rows(taken: tuple[object, list[Task]] | None) -> list[int]:
    assert taken is not None
    return [task.rows for task in taken[1]]


def test_with_no_timeout_a_free_thread_takes_what_is_there() -> None:
    """At timeout 0 a batch is due at once, so batches grow only while nobody takes them."""
    scheduler = _scheduler()
    scheduler.add("q", Task(1), 0.0)
    scheduler.add("q", Task(2), 0.0)
    assert _rows(scheduler.take(0.0)) == [1, 2]
    assert scheduler.take(1.0) is None


def test_the_timeout_counts_from_the_first_task() -> None:
    """A batch that is not full is due a timeout after its first task, not its last."""
    scheduler = _scheduler(timeout_micros=1_000_000)
    scheduler.add("q", Task(1), 10.0)
    scheduler.add("q", Task(1), 10.9)
    assert scheduler.due_at() == 11.0
    assert scheduler.take(10.95) is None
    assert _rows(scheduler.take(11.0)) == [1, 1]
    assert scheduler.due_at() is None


def test_a_full_batch_is_due_at_once() -> None:
    """A batch at the limit waits for no timeout."""
    scheduler = _scheduler(timeout_micros=1_000_000)
    scheduler.add("q", Task(4), 10.0)
    assert _rows(scheduler.take(10.0)) == [4]


def test_a_task_that_does_not_fit_closes_the_batch_before_it() -> None:
    """Tasks are not split: one that is too big for the open batch starts the next, and the first is due."""
    scheduler = _scheduler(timeout_micros=1_000_000)
    scheduler.add("q", Task(3), 10.0)
    scheduler.add("q", Task(2), 10.5)
    assert _rows(scheduler.take(10.5)) == [3]
    assert scheduler.due_at() == 11.5


def test_a_task_above_the_limit_is_refused() -> None:
    """More rows than max_batch_size: INVALID_ARGUMENT with both numbers."""
    with pytest.raises(ServingError) as caught:
        _scheduler().add("q", Task(5), 0.0)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == "Task size 5 is larger than maximum input batch size 4"


def test_a_full_queue_refuses() -> None:
    """One batch more than max_enqueued_batches: UNAVAILABLE with TensorFlow's text; others take tasks."""
    scheduler = _scheduler(max_enqueued_batches=2)
    scheduler.add("q", Task(4), 0.0)
    scheduler.add("q", Task(3), 0.0)
    scheduler.add("q", Task(1), 0.0)
    with pytest.raises(ServingError) as caught:
        scheduler.add("q", Task(1), 0.0)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.message == (
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued"
        " and max_enqueued_batches is 2"
    )
    scheduler.add("other", Task(1), 0.0)


def test_queues_take_turns() -> None:
    """A busy queue does not starve another: due batches leave queue by queue."""
    scheduler = _scheduler()
    for _ in range(3):
        scheduler.add("busy", Task(4, "busy"), 0.0)
    scheduler.add("quiet", Task(1, "quiet"), 0.0)
    order = [taken[0] for _ in range(4) if (taken := scheduler.take(0.0)) is not None]
    assert order == ["busy", "quiet", "busy", "busy"]


def test_a_queue_with_tasks_is_not_forgotten() -> None:
    """Dropping a version's queues is refused while a caller waits in one."""
    scheduler = _scheduler()
    scheduler.add("q", Task(1), 0.0)
    with pytest.raises(ValueError, match="still holds tasks"):
        scheduler.forget({"q"})
    assert scheduler.take(0.0) is not None
    scheduler.forget({"q", "never-seen"})
    assert scheduler.take(0.0) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 8), st.booleans())))
def test_every_task_leaves_once_in_order_within_the_limit(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever comes when: each queue's tasks leave once, in order, in batches within max_batch_size."""
    scheduler = _scheduler(max_batch_size=8, timeout_micros=500_000, max_enqueued_batches=1000)
    sent: dict[object, list[Task]] = {}
    left: dict[object, list[Task]] = {}

    def take(now_s: float) -> bool:
        taken = scheduler.take(now_s)
        if taken is None:
            return False
        assert 1 <= sum(task.rows for task in taken[1]) <= 8
        left.setdefault(taken[0], []).extend(taken[1])
        return True

    for number, (key, rows, also_take) in enumerate(steps):
        task = Task(rows, f"{number}")
        sent.setdefault(key, []).append(task)
        scheduler.add(key, task, number / 10)
        if also_take:
            take(number / 10)
    while take(1e9):
        pass
    assert left == sent


@pytest.mark.parametrize(("rows", "padded"), [(1, 2), (2, 2), (3, 8), (8, 8), (9, 9)], ids=str)
def test_batches_are_padded_to_the_next_allowed_size(rows: int, padded: int) -> None:
    """The next allowed size at or above the rows; none above: as it is."""
    assert BatchingParameters(allowed_batch_sizes=(2, 8)).next_allowed(rows) == padded


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        (
            (2, 4),
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        ((4, 2, 8), "allowed_batch_sizes entries must be monotonically increasing"),
    ],
)
def test_wrong_allowed_sizes_fail_the_load(sizes: tuple[int, ...], text: str) -> None:
    """Sizes that do not end in max_batch_size, or do not rise, are INVALID_ARGUMENT when a model loads."""
    with pytest.raises(ServingError) as caught:
        check_for_load(BatchingParameters(max_batch_size=8, allowed_batch_sizes=sizes))
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, text)
    check_for_load(BatchingParameters(max_batch_size=8, allowed_batch_sizes=(1, 8)))


@given(st.integers(1, 50), st.integers(0, 10), st.integers(1, 10))
def test_parts_fill_the_open_batch_then_whole_ones(rows: int, room: int, limit: int) -> None:
    """Parts add up to the request, the first fits what is open, and all but the last are full."""
    room = min(room, limit, rows - 1)
    sizes = part_sizes(rows, room, limit)
    assert sum(sizes) == rows
    assert all(0 < size <= limit for size in sizes)
    assert sizes[: room > 0] == [room][: room > 0]
    assert all(size == limit for size in sizes[room > 0 : -1])


def test_a_large_request_is_spread_in_order() -> None:
    """With splitting, a request fills the open batch and goes on in the next ones."""
    scheduler: BatchScheduler[Task] = BatchScheduler(
        BatchingParameters(
            max_batch_size=12,
            max_execution_batch_size=4,
            enable_large_batch_splitting=True,
            num_batch_threads=1,
        )
    )
    scheduler.add("q", Task(3, "a"), 0.0)
    scheduler.add("q", Task(7, "b"), 0.0)
    scheduler.add("q", Task(2, "c"), 0.0)
    taken = [scheduler.take(0.0) for _ in range(3)]
    batches = [[(task.name, task.rows) for task in batch[1]] for batch in taken if batch is not None]
    assert batches == [[("a", 3), ("b", 1)], [("b", 4)], [("b", 2), ("c", 2)]]


def test_a_limit_of_execution_above_the_requests_fails_the_load() -> None:
    """max_execution_batch_size may not exceed max_batch_size."""
    parameters = BatchingParameters(
        max_batch_size=4, max_execution_batch_size=8, enable_large_batch_splitting=True, num_batch_threads=1
    )
    with pytest.raises(ServingError, match="greater than or equal to max_execution_batch_size"):
        check_for_load(parameters)
