"""All leases of this worker: who may be read, what is open, what to commit. Pure.

Room is per lease: one stuck partition cannot stop the others. It is taken when a frame is read and given
back when the frame is settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from riverlens.frame import Frame, Record, read_frame
from riverlens_worker.messages import LeasedFrame
from riverlens_worker.offsets import LeaseState, PartitionLease


@dataclass(frozen=True, slots=True)
class Room:
    """The most that one partition may hold inside the worker."""

    frames: int
    nbytes: int


class LeaseTable:
    """The current leases by partition. Writer: Source alone."""

    def __init__(self, topic: str, room: Room) -> None:
        self.topic = topic
        self._room = room
        self._leases: dict[int, PartitionLease] = {}

    def __iter__(self) -> Iterator[PartitionLease]:
        return iter(tuple(self._leases.values()))

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, partition: int) -> PartitionLease | None:
        """The current lease of a partition, open or draining."""
        return self._leases.get(partition)

    def assign(self, partition: int, next_offset: int | None) -> PartitionLease:
        """Open a new lease; `next_offset` is the committed offset, None where there is none."""
        lease = PartitionLease(self.topic, partition, next_offset, committed=next_offset)
        self._leases[partition] = lease
        return lease

    def fence(self, lease: PartitionLease) -> None:
        """End a lease: from here on nothing of it is published or committed."""
        lease.state = LeaseState.FENCED
        if self._leases.get(lease.partition) is lease:
            del self._leases[lease.partition]

    def has_room(self, lease: PartitionLease) -> bool:
        """Whether one more of its frames may be read."""
        return lease.open and lease.has_room(self._room.frames, self._room.nbytes)

    def admit(
        self, lease: PartitionLease, record: Record, offset: int, now_s: float, now_ms: int
    ) -> LeasedFrame:
        """Take a record in: ledger, room, ordinal. `now_ms` is the wall clock, for the frame's age."""
        frame = read_frame(record)
        value = record.value
        return self._open(
            lease,
            frame,
            offset,
            now_s,
            record=(record.key, tuple(record.headers), value is None),
            broker_ms=max(0, now_ms - frame.captured_at_ms),
        )

    def admit_unreadable(self, lease: PartitionLease, offset: int, now_s: float, now_ms: int) -> LeasedFrame:
        """Take in the place of a record that cannot be parsed: it has neither key nor value."""
        frame = Frame(f"partition-{lease.partition}", b"", now_ms)
        return self._open(lease, frame, offset, now_s, record=(None, (), True), broker_ms=0)

    def _open(
        self,
        lease: PartitionLease,
        frame: Frame,
        offset: int,
        now_s: float,
        *,
        record: tuple[bytes | None, tuple[tuple[str, bytes], ...], bool],
        broker_ms: float,
    ) -> LeasedFrame:
        key, headers, null_value = record
        lease.ledger.open(offset, frame.captured_at_ms)
        lease.next_offset = offset + 1
        nbytes = len(frame.image)
        leased = LeasedFrame(
            lease, offset, lease.next_ordinal, frame, key, headers, null_value, nbytes, now_s, broker_ms
        )
        lease.next_ordinal += 1
        lease.frames += 1
        lease.bytes_held += nbytes
        return leased

    @staticmethod
    def hold(source: LeasedFrame, fetched: bytes) -> LeasedFrame:
        """The frame with what its reference named, which takes room as well until the frame is settled."""
        source.lease.bytes_held += len(fetched)
        return replace(source, fetched=fetched, nbytes=source.nbytes + len(fetched))

    @staticmethod
    def settle(source: LeasedFrame, *, fenced: bool = False) -> None:
        """Give the frame's room back and close its offset; a fenced frame's is never committed over."""
        lease = source.lease
        if fenced:
            lease.ledger.abandon(source.offset)
        else:
            lease.ledger.settle(source.offset)
        lease.frames -= 1
        lease.bytes_held -= source.nbytes

    def to_commit(self) -> Mapping[PartitionLease, int]:
        """What is new to commit, by lease."""
        found = {lease: lease.to_commit() for lease in self._leases.values()}
        return {lease: offset for lease, offset in found.items() if offset is not None}
