"""Which frames of a partition are open, and what may be committed. Pure.

A lease is one assignment of one partition to this worker: a new object each time, never re-opened. Work
in flight holds its lease and asks it; stale work falls out by itself.

Watermarks of a lease: `next_offset` (the next to read), the lowest open offset (the next to commit),
the highest seen. Only offsets really received are tracked, so gaps (compaction, transaction markers)
need no special case.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto


class LeaseState(Enum):
    """Life of one assignment; it only ever moves down this list."""

    OPEN = auto()
    """Ours: read, predict, publish, commit."""
    DRAINING = auto()
    """Being taken away: what is at the model server may still be published, all else is fenced."""
    FENCED = auto()
    """Taken away: nothing more is published or committed."""


class OffsetLedger:
    """Open and settled offsets of one lease.

    Invariants: offsets are opened in rising order; each is settled or abandoned exactly once;
    `committable` never passes an open or abandoned offset and never falls.
    """

    __slots__ = ("_abandoned", "_open", "_order", "highest")

    def __init__(self) -> None:
        self._abandoned: int | None = None
        # Every open offset and, behind the first one, settled ones that wait for it to go.
        self._order: deque[tuple[int, int]] = deque()
        self._open: set[int] = set()
        self.highest = -1

    def open(self, offset: int, captured_at_ms: int = 0) -> None:
        """Record that `offset`, captured at that time, was received.

        Raises:
            ValueError: not above every offset opened before.
        """
        if offset <= self.highest:
            raise ValueError(f"offset {offset} after {self.highest}")
        self.highest = offset
        self._open.add(offset)
        self._order.append((offset, captured_at_ms))

    def settle(self, offset: int) -> None:
        """Record the outcome of an open offset.

        Raises:
            ValueError: never opened, or settled before: a defect that would lose or repeat a frame.
        """
        if offset not in self._open:
            raise ValueError(f"offset {offset} is not open")
        self._open.remove(offset)
        while self._order and self._order[0][0] not in self._open:
            self._order.popleft()

    def abandon(self, offset: int) -> None:
        """Close an open offset without an outcome: the partition's next reader reads it again.

        Raises:
            ValueError: as `settle`.
        """
        self.settle(offset)
        self._abandoned = offset if self._abandoned is None else min(self._abandoned, offset)

    def committable(self) -> int | None:
        """The offset to commit: the lowest open or abandoned, else highest + 1; None before any frame."""
        if self.highest < 0:
            return None
        lowest = self._order[0][0] if self._order else self.highest + 1
        return lowest if self._abandoned is None else min(lowest, self._abandoned)

    def oldest_ms(self) -> int | None:
        """Capture time of the lowest open offset; None where none is open."""
        return self._order[0][1] if self._order else None

    def __len__(self) -> int:
        """How many offsets are open."""
        return len(self._open)


@dataclass(slots=True, eq=False)
class PartitionLease:
    """One assignment of one partition. Writer: Source alone; every stage may read.

    Attributes:
        next_offset: the next offset to read; None until the first record where nothing was committed.
        removed_to: how far retention was seen to have removed the partition; 0 where it was not.
        ledger: open and settled offsets.
        frames, bytes_held: room in use; taken when a frame is read, given back when it is settled.
        read_s: when its last frame was read; minus infinity before.
        full: whether its room was used up, and not enough of it was given back since.
        next_ordinal: ordinal of the next frame within this lease; dense, so order can be restored.
        committed: the last offset committed; None before.
    """

    topic: str
    partition: int
    next_offset: int | None = None
    state: LeaseState = LeaseState.OPEN
    ledger: OffsetLedger = field(default_factory=OffsetLedger)
    frames: int = 0
    bytes_held: int = 0
    read_s: float = float("-inf")
    full: bool = False
    next_ordinal: int = 0
    committed: int | None = None
    removed_to: int = 0

    @property
    def open(self) -> bool:
        """Whether new work may start on its frames."""
        return self.state is LeaseState.OPEN

    @property
    def fenced(self) -> bool:
        """Whether nothing more may be published or committed."""
        return self.state is LeaseState.FENCED

    def to_commit(self) -> int | None:
        """The offset to commit now, or None where nothing is new."""
        offset = self.ledger.committable()
        return None if offset is None or offset == self.committed else offset


class StallGuard:
    """Notices that the process stood still long enough to have lost its partitions unawares.

    A stopped process (SIGSTOP, a frozen machine) wakes up believing that it still owns its partitions.
    After a beat that is late by more than half the session, `suspect` holds until `prove`. The session
    has run since the last heartbeat, which was up to `heartbeat_s` before the last beat: where that
    leaves less, suspicion comes sooner.
    """

    __slots__ = ("_beat_s", "_limit_s", "_suspect")

    def __init__(self, *, session_timeout_s: float, heartbeat_s: float, now_s: float) -> None:
        self._limit_s = min(1.0 + session_timeout_s / 2, 0.8 * (session_timeout_s - heartbeat_s))
        self._beat_s = now_s
        self._suspect = False

    def late_s(self, now_s: float) -> float:
        """Seconds since the last beat."""
        return now_s - self._beat_s

    def beat(self, now_s: float) -> None:
        """Called about once a second while the loop runs."""
        self._suspect = self.suspect(now_s)
        self._beat_s = now_s

    def suspect(self, now_s: float) -> bool:
        """Whether publishing must wait until membership is proved. Safe to ask before the late beat."""
        return self._suspect or now_s - self._beat_s > self._limit_s

    def prove(self, now_s: float) -> None:
        """A commit of the current offsets succeeded, or every lease was given up."""
        self._suspect = False
        self._beat_s = now_s
