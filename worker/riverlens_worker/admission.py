"""Frames that were read and wait for decode: a queue per partition, served fairly. Pure.

Deficit round robin over partitions, offset order inside one: a partition's backlog cannot keep another
one waiting. Inside a partition the log is first-in-first-out and nothing can change that.
"""

from __future__ import annotations

from collections import deque

from riverlens_worker.messages import LeasedFrame, Rejected
from riverlens_worker.offsets import PartitionLease

Admitted = LeasedFrame | Rejected
"""A record that could not be read waits its turn as a rejection, so that the order stays whole."""


class Admission:
    """Queues of waiting frames. Writer: Source adds, the decode pool takes; both on one event loop."""

    QUANTUM_FRAMES = 4
    """Frames a partition may give before the next one has its turn."""

    def __init__(self) -> None:
        self._queues: dict[int, tuple[PartitionLease, deque[Admitted]]] = {}
        self._turns: deque[int] = deque()
        self._waiting = 0

    def add(self, lease: PartitionLease, items: list[Admitted]) -> None:
        """Append items of one lease, in offset order."""
        if not items:
            return
        key = id(lease)
        if key not in self._queues:
            self._queues[key] = (lease, deque())
            self._turns.append(key)
        self._queues[key][1].extend(items)
        self._waiting += len(items)

    def take(self, limit: int) -> list[Admitted]:
        """Up to `limit` items, a few from each partition in turn; empty where none waits."""
        taken: list[Admitted] = []
        while self._turns and len(taken) < limit:
            key = self._turns[0]
            queue = self._queues[key][1]
            quantum = min(self.QUANTUM_FRAMES, len(queue), limit - len(taken))
            taken.extend(queue.popleft() for _ in range(quantum))
            if queue:
                self._turns.rotate(-1)
            else:
                self._turns.popleft()
                del self._queues[key]
        self._waiting -= len(taken)
        return taken

    def purge(self, lease: PartitionLease) -> list[Admitted]:
        """Remove and return all that waits under a lease."""
        key = id(lease)
        if key not in self._queues:
            return []
        self._turns.remove(key)
        items = list(self._queues.pop(key)[1])
        self._waiting -= len(items)
        return items

    def __len__(self) -> int:
        """How many items wait."""
        return self._waiting
