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

_LEAST_SHARE_BYTES = 1024 * 1024
"""Kafka answers a fetch with up to so much of a partition, whatever room there is."""

_USED_AGAIN = 0.75


@dataclass(frozen=True, slots=True)
class Room:
    """The most that one partition may hold inside the worker.

    Attributes:
        frames, nbytes: of each partition, however many there are.
        total_bytes: of all partitions together: each has an equal share, whoever needs it, so that one that
            is stuck cannot take the others' room.
        enough: frames of all partitions together that keep all calls full: with so many each share is half as
            large, as more would only take memory. None: it stays as it is.
    """

    frames: int
    nbytes: int
    total_bytes: int
    enough: int | None = None

    def share_bytes(self, partitions: int, frames: int) -> int:
        """The most bytes of each of so many partitions, which hold so many frames together."""
        halved = self.enough is not None and frames >= self.enough
        total_bytes = self.total_bytes // 2 if halved else self.total_bytes
        return min(self.nbytes, max(total_bytes // max(1, partitions), _LEAST_SHARE_BYTES))


class LeaseTable:
    """The current leases by partition. Writer: Source alone."""

    def __init__(self, topic: str, room: Room) -> None:
        self.topic = topic
        self._room = room
        self._leases: dict[int, PartitionLease] = {}
        self._frames = 0

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
        return lease.open and not lease.full

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
        self._frames += 1
        lease.bytes_held += nbytes
        lease.read_s = now_s
        lease.full = self._used(lease, 1.0)
        return leased

    def _used(self, lease: PartitionLease, share: float) -> bool:
        """Whether that share of the lease's room is used; a first frame always has room, however large."""
        room, nbytes = self._room, self._room.share_bytes(len(self._leases), self._frames)
        return lease.frames > 0 and (
            lease.frames >= share * room.frames or lease.bytes_held >= share * nbytes
        )

    def hold(self, source: LeasedFrame, fetched: bytes) -> LeasedFrame:
        """The frame with what its reference named, which takes room as well until the frame is settled."""
        source.lease.bytes_held += len(fetched)
        source.lease.full |= self._used(source.lease, 1.0)
        return replace(source, fetched=fetched, nbytes=source.nbytes + len(fetched))

    def settle(self, source: LeasedFrame, *, fenced: bool = False) -> bool:
        """Give the frame's room back and close its offset; a fenced frame's is never committed over.

        Returns whether that gave room again to a lease that had none. It has some again once a quarter is
        free: a poll for every frame would cost more than the frame.
        """
        lease = source.lease
        if fenced:
            lease.ledger.abandon(source.offset)
        else:
            lease.ledger.settle(source.offset)
        lease.frames -= 1
        self._frames -= 1
        lease.bytes_held -= source.nbytes
        if lease.full and not self._used(lease, _USED_AGAIN):
            lease.full = False
            return True
        return False

    def to_commit(self) -> Mapping[PartitionLease, int]:
        """What is new to commit, by lease."""
        found = {lease: lease.to_commit() for lease in self._leases.values()}
        return {lease: offset for lease, offset in found.items() if offset is not None}
