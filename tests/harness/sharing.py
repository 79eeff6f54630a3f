"""Several workers on one model server in simulated time: its devices, its own batching, and the oracles."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cost import Cost
from benchmarks.oracle import Ideal, pooled, split
from riverlens_worker.endpoint_load import EndpointLoad
from riverlens_worker.expectation import Call
from tests.harness.dispatching import MOST_ROWS, Device

_LATE_S = 0.001
_JITTER_S = 0.0005
_LOOK_S = 0.0002
"""Timers are up to so late, calls and answers travel up to so much longer; timers fire so early."""
_NEXT_S, _READ_S = 1e-5, 0.0006
"""From a pair's first call to its second, as which one that is counts; to read an answer before the next."""


@dataclass(slots=True)
class Worker:
    """One worker's expectations and frames.

    Attributes:
        answered: (time, rows) of each answer.
    """

    load: EndpointLoad = field(default_factory=lambda: EndpointLoad(8))
    waiting: deque[int] = field(default_factory=deque)
    answered: list[tuple[float, int]] = field(default_factory=list)
    timers: int = 0
    sent_s: float = 0.0


def workers_of(count: int) -> list[Worker]:
    """So many, each with a spread of its own."""
    return [Worker(EndpointLoad(8, spread=(number + 0.5) / count)) for number in range(count)]


@dataclass(slots=True)
class Shared:
    """A server and its workers; `run` once.

    Attributes:
        devices: work side by side.
        merge: calls that wait share a batch, as with batch_timeout_micros 0.
        until_s: stop then.
    """

    device: Device
    frames: Sequence[tuple[float, int]]
    workers: list[Worker]
    dice: random.Random
    devices: int = 1
    merge: bool = False
    until_s: float = float("inf")
    latencies: list[float] = field(default_factory=list)
    _events: list[tuple[float, int, str, tuple[Any, ...]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _free_s: list[float] = field(default_factory=list)
    _queue: deque[tuple[int, Call, list[int]]] = field(default_factory=deque)

    def run(self) -> list[float]:
        """Latency of each frame, in seconds; of those unanswered at the end, 0."""
        for _ in self.steps():
            pass
        return self.latencies

    def steps(self) -> Iterator[None]:
        """The run step by step: something happens in each."""
        self.latencies = [0.0] * len(self.frames)
        self._free_s = [0.0] * self.devices
        for number, (at_s, worker) in enumerate(self.frames):
            self._push(at_s, "frame", worker, number)
        while self._events:
            now_s, _, kind, what = heapq.heappop(self._events)
            if now_s > self.until_s:
                break
            self._handle(now_s, kind, what)
            yield

    def _push(self, at_s: float, kind: str, *what: Any) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), kind, what))

    def _handle(self, now_s: float, kind: str, what: tuple[Any, ...]) -> None:
        if kind == "frame":
            self.workers[what[0]].waiting.append(what[1])
            self._act(what[0], now_s)
        elif kind == "timer" and self.workers[what[0]].timers == what[1]:
            self._act(what[0], now_s)
        elif kind == "call":
            self._queue.append((what[0], what[1], what[2]))
            self._begin(now_s)
        elif kind == "free":
            self._begin(now_s)
        elif kind == "answer":
            self._answer(what[0], what[1], what[2], now_s)

    def _act(self, number: int, now_s: float) -> None:
        """As the predictor does: take a batch when one is due, as two calls where a pair is."""
        worker = self.workers[number]
        while worker.waiting:
            full = len(worker.waiting) >= MOST_ROWS
            due_s = worker.load.due_s(full=full)
            if due_s > now_s + _LOOK_S:
                worker.timers += 1
                if due_s != float("inf"):
                    self._push(due_s + self.dice.random() * _LATE_S, "timer", number, worker.timers)
                return
            rows = min(len(worker.waiting), MOST_ROWS)
            first = worker.load.first_rows(rows)
            for nth, size in enumerate((first, rows - first)[: 1 + (first < rows)]):
                self._send(number, size, now_s + nth * _NEXT_S, full=full)

    def _send(self, number: int, rows: int, now_s: float, *, full: bool) -> None:
        worker = self.workers[number]
        taken = [worker.waiting.popleft() for _ in range(rows)]
        call = worker.load.start(rows, now_s, full=full, ready_s=self.frames[taken[0]][0])
        there_s = now_s + self.device.transport_s / 2 + self.dice.random() * _JITTER_S
        # One connection: what leaves first comes first.
        worker.sent_s = max(worker.sent_s + 1e-6, there_s)
        self._push(worker.sent_s, "call", number, call, taken)

    def _begin(self, now_s: float) -> None:
        while self._queue and min(self._free_s) <= now_s:
            batch = [self._queue.popleft()]
            rows = batch[0][1].rows
            while self.merge and self._queue and rows + self._queue[0][1].rows <= MOST_ROWS:
                rows += self._queue[0][1].rows
                batch.append(self._queue.popleft())
            end_s = now_s + self.device.seconds(rows, now_s, self.dice)
            self._free_s[self._free_s.index(min(self._free_s))] = end_s
            self._push(end_s, "free")
            for nth, part in enumerate(batch):
                read_s = _READ_S * sum(part[0] == other[0] for other in batch[:nth])
                back_s = self.device.transport_s / 2 + self.dice.random() * _JITTER_S
                self._push(end_s + back_s + read_s, "answer", *part)

    def _answer(self, number: int, call: Call, taken: list[int], now_s: float) -> None:
        worker = self.workers[number]
        worker.load.passed(call, now_s)
        worker.load.end(call)
        worker.answered.append((now_s, call.rows))
        for frame in taken:
            self.latencies[frame] = now_s - self.frames[frame][0]
        self._act(number, now_s)


def oracles(shared: Shared) -> list[float]:
    """Latency of each frame with one queue for all, or (no merging) a queue a worker and ideal turns."""
    device = shared.device
    ideal = Ideal(
        Cost(device.a_s * 1000, device.b_s * 1000), device.transport_s / 2, MOST_ROWS, shared.devices
    )
    arrivals = [at_s for at_s, _ in shared.frames]
    if shared.merge or len(shared.workers) == 1:
        answered = pooled(arrivals, ideal)
    else:
        answered = split(arrivals, [worker for _, worker in shared.frames], ideal)
    return [float(there_s) - at_s for there_s, at_s in zip(answered, arrivals, strict=True)]
