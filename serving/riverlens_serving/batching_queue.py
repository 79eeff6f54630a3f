"""When requests become batches: TensorFlow's SharedBatchScheduler as a plain object, no threads, no clock.

Promises: a task is in exactly one batch; a batch is open, then closed, never re-opened; tasks of one queue
leave in the order they came; queues take turns. The caller holds a lock around every call and passes the
time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.status import Code, ServingError, invalid


class Sized(Protocol):
    """What the scheduler needs to know of a task."""

    @property
    def rows(self) -> int:
        """Size of the task's 0th dimension, at least 1."""

    def split(self, sizes: Sequence[int]) -> Sequence[Self]:
        """Tasks of these many rows each, in order, that together stand for this one."""


TaskT = TypeVar("TaskT", bound=Sized)


@dataclass(slots=True)
class _Batch(Generic[TaskT]):
    tasks: list[TaskT] = field(default_factory=list)
    rows: int = 0
    started_s: float = 0.0
    """When its first task came."""


class _Queue(Generic[TaskT]):
    """Batches of one kind of request; the last one is open, those before it are closed."""

    def __init__(self, parameters: BatchingParameters) -> None:
        self._input_limit = parameters.max_batch_size
        self._limit = parameters.batch_limit
        self._splits = parameters.enable_large_batch_splitting
        self._max_enqueued = parameters.max_enqueued_batches
        self._timeout_s = parameters.batch_timeout_micros / 1e6
        self._batches: deque[_Batch[TaskT]] = deque([_Batch()])

    @property
    def waiting(self) -> int:
        return sum(len(batch.tasks) for batch in self._batches)

    def add(self, task: TaskT, now_s: float) -> None:
        if task.rows > self._input_limit:
            raise invalid(
                f"Task size {task.rows} is larger than maximum input batch size {self._input_limit}"
            )
        room = self._limit - self._batches[-1].rows
        if self._splits:
            self._check_capacity(task.rows, room)
        elif task.rows > room and len(self._batches) >= self._max_enqueued:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently"
                f" {len(self._batches)} batches enqueued and max_enqueued_batches is {self._max_enqueued}",
            )
        if self._splits and task.rows > room:
            for part in task.split(part_sizes(task.rows, room, self._limit)):
                self._append(part, now_s)
        else:
            self._append(task, now_s)

    def _check_capacity(self, rows: int, room: int) -> None:
        capacity = (self._max_enqueued - len(self._batches)) * self._limit + room
        if rows > capacity:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size is"
                f" {rows} but scheduling capacity is only {capacity}"
                f" (num_enqueued_batches={len(self._batches)}, max_enqueued_batches={self._max_enqueued},"
                f" open_batch_size={self._batches[-1].rows}, max_execution_batch_size={self._limit})",
            )

    def _append(self, task: TaskT, now_s: float) -> None:
        if self._batches[-1].rows + task.rows > self._limit:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        if not batch.tasks:
            batch.started_s = now_s
        batch.tasks.append(task)
        batch.rows += task.rows

    def due_at(self) -> float | None:
        """When the front batch may be taken; None while there is none."""
        front = self._batches[0]
        if not front.tasks:
            return None
        if len(self._batches) > 1 or front.rows >= self._limit:
            return front.started_s
        return front.started_s + self._timeout_s

    def take(self) -> list[TaskT]:
        """The front batch's tasks. An open batch is closed by this."""
        front = self._batches.popleft()
        if not self._batches:
            self._batches.append(_Batch())
        return front.tasks


def part_sizes(rows: int, room: int, limit: int) -> list[int]:
    """How a request is spread: first what the open batch has room for, then whole batches, then the rest."""
    first = [room] if room > 0 else []
    whole, rest = divmod(rows - sum(first), limit)
    return first + [limit] * whole + ([rest] if rest else [])


class BatchScheduler(Generic[TaskT]):
    """All queues. One queue per key; keys are made by the first task that carries them."""

    def __init__(self, parameters: BatchingParameters) -> None:
        self._parameters = parameters
        self._queues: dict[Hashable, _Queue[TaskT]] = {}
        self._turns: deque[Hashable] = deque()

    def add(self, key: Hashable, task: TaskT, now_s: float) -> None:
        """Put a task into its queue's open batch, or into a new one where it does not fit.

        Raises:
            ServingError: INVALID_ARGUMENT, more rows than a batch may have; UNAVAILABLE, the queue is full.
        """
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(self._parameters)
            self._turns.append(key)
        queue.add(task, now_s)

    def take(self, now_s: float) -> tuple[Hashable, list[TaskT]] | None:
        """The next batch that is due, from the queue whose turn it is; None if none is."""
        for _ in range(len(self._turns)):
            key = self._turns[0]
            self._turns.rotate(-1)
            due_s = self._queues[key].due_at()
            if due_s is not None and due_s <= now_s:
                return key, self._queues[key].take()
        return None

    def due_at(self) -> float | None:
        """When the next batch is due; None while nothing waits."""
        return min(
            (due for queue in self._queues.values() if (due := queue.due_at()) is not None), default=None
        )

    @property
    def waiting(self) -> int:
        """Tasks in all queues that no batch thread has taken."""
        return sum(queue.waiting for queue in self._queues.values())

    def forget(self, keys: set[Hashable]) -> None:
        """Drop the queues of a version that is gone. They must be empty: its callers have left."""
        for key in keys & self._queues.keys():
            if self._queues[key].waiting:
                raise ValueError(f"queue {key} still holds tasks")
            del self._queues[key]
            self._turns.remove(key)
