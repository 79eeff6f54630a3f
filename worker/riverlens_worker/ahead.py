"""Which partitions may have frames decoded before a call takes them. Pure.

A batch's worth of all frames is decoded ahead, and what keeps the stages before it busy: else there would be
threads without work where a call takes few rows. Beyond it each partition has a share of its own: a frame of
a quiet camera joins the next call, however long the backlog of a busy one. The next call is shared out when
it is sealed; what had been taken in order of arrival would go in that order.
"""

from __future__ import annotations

from collections.abc import Iterable

from riverlens_worker.messages import LeasedFrame, Rejected
from riverlens_worker.offsets import PartitionLease


class Ahead:
    """Frames that were taken to be decoded and are in no call yet. Writer: Admission.

    Attributes:
        frames: how many there may be, but for the shares.
    """

    __slots__ = ("_taken", "_total", "frames")

    def __init__(self, frames: int = 32) -> None:
        self.frames = frames
        self._taken: dict[PartitionLease, set[int]] = {}
        self._total = 0

    def room(self, lease: PartitionLease) -> int:
        """How many more frames of a partition may be taken; not above 0: none."""
        mine = self._taken.get(lease)
        partitions = len(self._taken) + (mine is None)
        share = max(1, self.frames // partitions)
        return max(self.frames - self._total, share - (0 if mine is None else len(mine)))

    def add(self, lease: PartitionLease, items: Iterable[LeasedFrame | Rejected]) -> None:
        """These were taken; a rejection needs no call."""
        offsets = {item.offset for item in items if isinstance(item, LeasedFrame)}
        if offsets:
            self._taken.setdefault(lease, set()).update(offsets)
            self._total += len(offsets)

    def release(self, source: LeasedFrame) -> None:
        """This one is in a call, or needs none any more; harmless where it was released before."""
        mine = self._taken.get(source.lease)
        if mine is None or source.offset not in mine:
            return
        mine.remove(source.offset)
        self._total -= 1
        if not mine:
            del self._taken[source.lease]

    def __len__(self) -> int:
        """How many frames there are."""
        return self._total
