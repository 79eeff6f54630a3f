"""Which waiting reference is fetched next. Pure.

Offset order within a lease; the lease with the fewest fetches under way first; half of an origin's
fetches at most for one lease, so that a partition whose references hang leaves room for the others.
What is being fetched counts with the largest size it may have: a lease starts no fetch that could pass
its room, but for its oldest open frame, which all behind it wait for.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from riverlens_worker.messages import LeasedFrame
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.reference_uri import Location


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A reference to fetch: the frame, the prefix that allows it, the place."""

    source: LeasedFrame
    prefix: Location
    location: Location


@dataclass(slots=True)
class _Line:
    """One lease's references: waiting ones in offset order, and those being fetched."""

    waiting: deque[Wanted] = field(default_factory=deque)
    running: set[Wanted] = field(default_factory=set)


class Turns:
    """References that wait or are being fetched, by lease. Writer: the references stage alone."""

    def __init__(self, *, at_once: int, room_bytes: int, most_bytes: int) -> None:
        """`at_once`: fetches of one origin; `most_bytes`: the largest that one may bring."""
        self._at_once = at_once
        self._for_one = max(1, at_once // 2)
        self._room_bytes = room_bytes
        self._most_bytes = most_bytes
        self._lines: dict[PartitionLease, _Line] = {}
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many wait or are being fetched."""
        return sum(len(line.waiting) + len(line.running) for line in self._lines.values())

    def add(self, wanted: Wanted) -> None:
        """Enter a reference, in its lease's offset order, whatever order they come in."""
        waiting = self._lines.setdefault(wanted.source.lease, _Line()).waiting
        place = len(waiting)
        # A live camera's newest frame comes where an older one waited: before others of lower offsets.
        while place and waiting[place - 1].source.offset > wanted.source.offset:
            place -= 1
        waiting.insert(place, wanted)

    def next(self) -> Wanted | None:
        """The reference to fetch now, from here on one of those being fetched; None where none may start."""
        ready = [line for line in self._lines.values() if line.waiting and self._may_start(line)]
        if not ready:
            return None
        line = min(ready, key=lambda each: len(each.running))
        wanted = line.waiting.popleft()
        line.running.add(wanted)
        self._running[wanted.location.origin] += 1
        return wanted

    def any_ready(self) -> bool:
        """Whether `next` would give one."""
        return any(line.waiting and self._may_start(line) for line in self._lines.values())

    def done(self, wanted: Wanted) -> bool:
        """This fetch has ended; False where it was given up before."""
        line = self._lines.get(wanted.source.lease)
        if line is None or wanted not in line.running:
            return False
        line.running.remove(wanted)
        self._running[wanted.location.origin] -= 1
        self._forget_if_empty(wanted.source.lease)
        return True

    def any_lost(self) -> bool:
        """Whether `lost` would give any."""
        return any(not lease.open for lease in self._lines)

    def lost(self) -> list[Wanted]:
        """Take out and return all of leases that are no longer open."""
        return [each for lease in list(self._lines) if not lease.open for each in self._purge(lease)]

    def unstarted(self) -> list[Wanted]:
        """Take out and return those that wait."""
        found: list[Wanted] = []
        for lease, line in list(self._lines.items()):
            found += line.waiting
            line.waiting.clear()
            self._forget_if_empty(lease)
        return found

    def everything(self) -> list[Wanted]:
        """Take out and return all."""
        return [each for lease in list(self._lines) for each in self._purge(lease)]

    def _purge(self, lease: PartitionLease) -> list[Wanted]:
        line = self._lines.pop(lease)
        for wanted in line.running:
            self._running[wanted.location.origin] -= 1
        return [*line.running, *line.waiting]

    def _forget_if_empty(self, lease: PartitionLease) -> None:
        line = self._lines[lease]
        if not line.waiting and not line.running:
            del self._lines[lease]

    def _may_start(self, line: _Line) -> bool:
        wanted = line.waiting[0]
        lease, origin = wanted.source.lease, wanted.location.origin
        if self._running[origin] >= self._at_once:
            return False
        if sum(each.location.origin == origin for each in line.running) >= self._for_one:
            return False
        expected_bytes = lease.bytes_held + self._most_bytes * (len(line.running) + 1)
        return expected_bytes <= self._room_bytes or lease.ledger.committable() == wanted.source.offset
