"""Batches at work: threads that run them, and a session that waits for its part.

A request waits on its own gRPC thread until its batch is done, as in TensorFlow Serving: to fill batches from
single-row callers, `--grpc_max_threads` must be above the rows wanted.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from riverlens_serving.batching_merge import count_rows, merge, split
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.batching_queue import BatchScheduler
from riverlens_serving.metrics import Metrics
from riverlens_serving.session import Session
from riverlens_serving.status import Code, ServingError
from riverlens_serving.tensors import Array

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Task:
    """One request in a queue, or a part of one. Its batch's thread sets `outputs` or `error`, then `done`."""

    session: Session
    feeds: Mapping[str, Array]
    fetches: tuple[str, ...]
    rows: int
    deadline_s: float | None
    """On the monotonic clock; None: no deadline."""
    queued_s: float = field(default_factory=time.monotonic)
    parts: list[_Task] = field(default_factory=list)
    """What the queue made of it, where it did not fit into one batch."""
    done: threading.Event = field(default_factory=threading.Event)
    outputs: list[Array] = field(default_factory=list)
    error: ServingError | None = None

    def split(self, sizes: Sequence[int]) -> Sequence[_Task]:
        """See `Sized.split`."""
        starts = [0, *itertools.accumulate(sizes)]
        self.parts = [
            _Task(
                self.session,
                {name: array[start : start + size] for name, array in self.feeds.items()},
                self.fetches,
                size,
                self.deadline_s,
            )
            for start, size in zip(starts[:-1], sizes, strict=True)
        ]
        return self.parts

    def wait(self) -> list[Array]:
        """Block until a batch has answered, or all that the request was spread over."""
        for part in self.parts or [self]:
            part.done.wait()
        failed = next((part.error for part in self.parts or [self] if part.error is not None), None)
        if failed is not None:
            # A new exception each: one object raised on many threads would grow a shared traceback.
            raise ServingError(failed.code, failed.message)
        if not self.parts:
            return self.outputs
        return [np.concatenate(pieces) for pieces in zip(*(part.outputs for part in self.parts), strict=True)]


class Batcher:
    """The one pool of batch threads that all models share, and its scheduler."""

    def __init__(self, parameters: BatchingParameters, metrics: Metrics | None = None) -> None:
        self.parameters = parameters
        self._metrics = metrics or Metrics()
        self._scheduler: BatchScheduler[_Task] = BatchScheduler(parameters)
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{parameters.thread_pool_name}_{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, key: Hashable, task: _Task) -> list[Array]:
        """Queue a task and wait for its outputs.

        Raises:
            ServingError: refused by the queue, or the whole batch failed.
        """
        with self._changed:
            self._scheduler.add(key, task, time.monotonic())
            self._changed.notify()
            if task.parts:
                # One notify wakes one thread, and the parts lie in several batches.
                self._changed.notify_all()
        return task.wait()

    @property
    def waiting(self) -> int:
        """Requests that no batch thread has taken yet."""
        with self._changed:
            return self._scheduler.waiting

    def forget(self, keys: set[Hashable]) -> None:
        """Drop the queues of a version that is being unloaded."""
        with self._changed:
            self._scheduler.forget(keys)

    def stop(self) -> None:
        """End the threads. No request may be waiting."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        # Left to the interpreter's end, a thread that wakes up then takes the process down with it.
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            _process(batch, self.parameters, self._metrics)

    def _next(self) -> list[_Task] | None:
        with self._changed:
            while not self._stopped:
                now_s = time.monotonic()
                taken = self._scheduler.take(now_s)
                if taken is not None:
                    return taken[1]
                due_s = self._scheduler.due_at()
                self._changed.wait(None if due_s is None else max(due_s - now_s, 0))
        return None


def _count(batch: list[_Task], parameters: BatchingParameters, now_s: float, metrics: Metrics) -> None:
    rows = sum(task.rows for task in batch)
    executed = parameters.next_allowed(rows)
    for task in batch:
        # TensorFlow Serving leaves this label empty: its sessions do not know their pool's name.
        metrics.queuing_latency.observe((now_s - task.queued_s) * 1e6, "")
        metrics.input_batch_size.observe(task.rows)
    metrics.padding_size.observe(executed - rows, str(executed))
    metrics.processed_batch_size.observe(executed)


def _process(batch: list[_Task], parameters: BatchingParameters, metrics: Metrics) -> None:
    """Run one batch. Whatever happens, each of its tasks is done afterwards, all with the same status."""
    error: ServingError | None = None
    try:
        now_s = time.monotonic()
        _count(batch, parameters, now_s, metrics)
        timeout_ms = _timeout_ms(batch, now_s)
        feeds = merge([task.feeds for task in batch], parameters)
        # All tasks of a queue fetch the same set, each in its own order.
        fetches = batch[0].fetches
        outputs = batch[0].session.run(feeds, fetches, timeout_ms)
        metrics.wrapped_run_count.add()
        for task, parts in zip(batch, split(outputs, [task.rows for task in batch], parameters), strict=True):
            by_name = dict(zip(fetches, parts, strict=True))
            task.outputs = [by_name[name] for name in task.fetches]
    except ServingError as failure:
        error = failure
    except Exception as failure:  # noqa: BLE001  # callers left alone would wait for ever, whatever it is
        _log.exception("a batch failed")
        error = ServingError(Code.INTERNAL, f"batching failed: {failure}")
    finally:
        for task in batch:
            task.error = error
            task.done.set()


def _timeout_ms(batch: Sequence[_Task], now_s: float) -> int:
    """The latest deadline of a batch as a timeout, 0 where one task has none.

    Raises:
        ServingError: RESOURCE_EXHAUSTED, every task has waited past its deadline.
    """
    deadlines = [task.deadline_s for task in batch]
    latest = max((deadline for deadline in deadlines if deadline is not None), default=now_s)
    if None in deadlines:
        return 0
    if latest <= now_s:
        raise ServingError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
    return max(int((latest - now_s) * 1000), 1)


class BatchingSession:
    """A `Session` whose runs are merged with those of other callers.

    The queue is the version x the set of input tensors x the set of output tensors, not the signature's name:
    an output filter of its own makes a queue of its own.
    """

    def __init__(self, session: Session, batcher: Batcher) -> None:
        self._session = session
        self._batcher = batcher
        self._keys: set[Hashable] = set()

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """See `Session.run`. Zero rows run alone; TensorFlow Serving would never schedule them."""
        rows = count_rows(feeds)
        if rows == 0:
            return self._session.run(feeds, fetches, timeout_ms)
        deadline_s = time.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else None
        key = (id(self), frozenset(feeds), frozenset(fetches))
        self._keys.add(key)
        return self._batcher.run(key, _Task(self._session, feeds, tuple(fetches), rows, deadline_s))

    def data_type(self, tensor_name: str) -> int:
        """See `Session.data_type`."""
        return self._session.data_type(tensor_name)

    def close(self) -> None:
        """See `Session.close`."""
        self._batcher.forget(self._keys)
        self._session.close()
