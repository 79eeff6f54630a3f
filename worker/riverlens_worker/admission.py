"""Frames that were read and wait for decode: a queue per partition, served fairly. Pure.

Deficit round robin over partitions, offset order inside one: a partition's backlog cannot keep another
one waiting. Inside a partition the log is first-in-first-out and nothing can change that.

A `latest_only` camera has one place in its partition's queue, and its newest frame stands there: newer
frames inherit the place. Queued at the end instead, each would be overtaken by the next one before its
turn, and a busy device would never see that camera.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from riverlens.drop import DropReason
from riverlens_worker.ahead import Ahead
from riverlens_worker.freshness import Freshness, newer
from riverlens_worker.messages import LeasedFrame, Rejected, dropped
from riverlens_worker.offsets import PartitionLease

Admitted = LeasedFrame | Rejected
"""A record that could not be read waits its turn as a rejection, so that the order stays whole."""


@dataclass(slots=True, eq=False)
class _Place:
    """Where a `latest_only` camera's newest frame waits."""

    newest: LeasedFrame


class Admission:
    """Queues of waiting frames. Writer: Source adds, the decode pool takes; both on one event loop."""

    QUANTUM_FRAMES = 4
    """Frames a partition may give before the next one has its turn."""

    def __init__(self, freshness: Freshness | None = None) -> None:
        """`freshness`: the cameras' policies; None where every frame counts."""
        self._freshness = freshness
        self._queues: dict[int, tuple[PartitionLease, deque[Admitted | _Place]]] = {}
        self._turns: deque[int] = deque()
        self._places: dict[tuple[PartitionLease, str], _Place] = {}
        self._waiting = 0
        self._ahead = Ahead()

    def add(self, lease: PartitionLease, items: list[Admitted]) -> Sequence[Rejected]:
        """Append items of one lease, in offset order; returns the frames that are dropped for it."""
        entries: Sequence[Admitted | _Place] = items
        gone: list[Rejected] = []
        if self._freshness is not None:
            entries = self._sift(self._freshness, lease, items, gone)
        if not entries:
            return gone
        key = id(lease)
        if key not in self._queues:
            self._queues[key] = (lease, deque())
            self._turns.append(key)
        self._queues[key][1].extend(entries)
        self._waiting += len(entries)
        return gone

    def _sift(
        self, freshness: Freshness, lease: PartitionLease, items: list[Admitted], gone: list[Rejected]
    ) -> list[Admitted | _Place]:
        """The items that take a new place; what is stale or superseded joins `gone`."""
        entries: list[Admitted | _Place] = []
        for item in items:
            if isinstance(item, Rejected):
                entries.append(item)
            elif freshness.stale(item, item.arrived_s):
                gone.append(dropped(item, DropReason.STALE))
            elif not freshness.replaceable(item):
                entries.append(item)
            elif (place := self._places.get((lease, item.frame.camera_id))) is None:
                place = self._places[lease, item.frame.camera_id] = _Place(item)
                entries.append(place)
            else:
                older = item
                if newer(item, place.newest):
                    place.newest, older = item, place.newest
                gone.append(dropped(older, DropReason.SUPERSEDED))
        return entries

    def take(self, limit: int, now_s: float) -> tuple[list[Admitted], Sequence[Rejected]]:
        """Up to `limit` items, a few from each partition in turn; and what is found stale on the way."""
        taken: list[Admitted] = []
        gone: list[Rejected] = []
        plain = self._freshness is None
        passed = 0
        while passed < len(self._turns) and len(taken) < limit:
            key = self._turns[0]
            lease, queue = self._queues[key]
            quantum = min(self.QUANTUM_FRAMES, len(queue), limit - len(taken), self._ahead.room(lease))
            passed = passed + 1 if quantum < 1 else 0
            entries = [queue.popleft() for _ in range(quantum)]
            self._waiting -= len(entries)
            if queue:
                self._turns.rotate(-1)
            else:
                self._turns.popleft()
                del self._queues[key]
            # Without policies there are no places, and nothing expires.
            items = cast("list[Admitted]", entries) if plain else self._fresh(entries, now_s, gone)
            self._ahead.add(lease, items)
            taken += items
        return taken, gone

    def ready(self) -> bool:
        """Whether something that waits may be taken."""
        return any(self._ahead.room(lease) > 0 for lease, _ in self._queues.values())

    def takeable(self) -> int:
        """How many of those that wait may be taken now, at most."""
        return sum(max(0, min(len(queue), self._ahead.room(lease))) for lease, queue in self._queues.values())

    def release(self, source: LeasedFrame) -> None:
        """A frame that was taken is in a call now, or has its outcome; harmless a second time."""
        self._ahead.release(source)

    def limit(self, frames: int) -> None:
        """So many frames may be taken before a call takes them."""
        self._ahead.frames = frames

    def sweep(self, now_s: float) -> list[Rejected]:
        """Remove and return what has gone stale while nobody takes."""
        gone: list[Rejected] = []
        for key in tuple(self._queues):
            queue = self._queues[key][1]
            kept = [entry for entry in queue if not self._expires(entry, now_s, gone)]
            self._waiting += len(kept) - len(queue)
            queue.clear()
            queue.extend(kept)
            if not kept:
                self._turns.remove(key)
                del self._queues[key]
        return gone

    def purge(self, lease: PartitionLease) -> list[Admitted]:
        """Remove and return all that waits under a lease."""
        key = id(lease)
        if key not in self._queues:
            return []
        self._turns.remove(key)
        entries = self._queues.pop(key)[1]
        self._waiting -= len(entries)
        return [self._leave(entry) for entry in entries]

    def __len__(self) -> int:
        """How many items wait."""
        return self._waiting

    def _fresh(self, entries: list[Admitted | _Place], now_s: float, gone: list[Rejected]) -> list[Admitted]:
        """What leaves the queue to be decoded; what is stale by now joins `gone`."""
        return [self._leave(entry) for entry in entries if not self._expires(entry, now_s, gone)]

    def _expires(self, entry: Admitted | _Place, now_s: float, gone: list[Rejected]) -> bool:
        if self._freshness is None or isinstance(entry, Rejected):
            return False
        source = entry.newest if isinstance(entry, _Place) else entry
        if not self._freshness.stale(source, now_s):
            return False
        self._leave(entry)
        gone.append(dropped(source, DropReason.STALE))
        return True

    def _leave(self, entry: Admitted | _Place) -> Admitted:
        """The item of an entry that leaves its queue."""
        if not isinstance(entry, _Place):
            return entry
        source = entry.newest
        del self._places[source.lease, source.frame.camera_id]
        return source
