"""What the parts of Source share: one consumer, one lease table, one queue of waiting frames."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import TopicPartition

from riverlens_worker.admission import Admission, Admitted
from riverlens_worker.channel import Signal
from riverlens_worker.fetch_pace import Demand
from riverlens_worker.freshness import Freshness
from riverlens_worker.leases import LeaseTable
from riverlens_worker.messages import LeasedFrame, Outcome, Rejected, Settled, fenced
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import PartitionLease, StallGuard
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.group import Group

logger = logging.getLogger(__name__)

_IN_USE_S = 10.0
"""A partition of which nothing was read for so long has nobody who waits."""


def _to_nobody(_: Sequence[Rejected]) -> None:
    """Nothing is dropped."""


class Handover(Protocol):
    """Whoever publishes a partition's events and must know when the partition comes and goes."""

    async def take_over(self, partitions: Iterable[int]) -> None:
        """The partitions are ours now; on return nothing of an earlier owner can be published any more.

        Raises:
            KafkaError: Kafka does not answer, or refuses.
        """

    def release(self, partitions: Iterable[int]) -> None:
        """The partitions' leases are fenced."""


def _at_once() -> Demand:
    return Demand(0.0, 1)


@dataclass(slots=True)
class SourceState:
    """Owned by Source; its parts write, nobody else.

    Attributes:
        arrived: fires when frames wait, reading ends or fails.
        changed: fires when room is given back, leases change, reading ends or fails.
        freshness: the cameras' policies; None where every frame counts.
        pass_by: takes rejections past all stages up to the publisher.
        failure: what ended reading for good.
        demand: what the batch that is being filled waits for.
        answered: fires when a call is over: what was said of demand may no longer hold.
    """

    settings: WorkerSettings
    metrics: Metrics
    consumer: Any
    leases: LeaseTable
    guard: StallGuard
    group: Group
    handover: Handover | None = None
    freshness: Freshness | None = None
    pass_by: Callable[[Sequence[Rejected]], None] = _to_nobody
    admission: Admission = field(default_factory=Admission)
    arrived: Signal = field(default_factory=Signal)
    changed: Signal = field(default_factory=Signal)
    ended: bool = False
    failure: BaseException | None = None
    demand: Callable[[], Demand] = field(default=_at_once)
    answered: Signal = field(default_factory=Signal)

    def topic_partition(self, lease: PartitionLease) -> TopicPartition:
        """The lease's partition in aiokafka's words."""
        return TopicPartition(lease.topic, lease.partition)

    def settle(self, settled: Sequence[Settled]) -> None:
        """Room back, offsets closed, outcomes counted. Exactly once a frame."""
        outcomes: Counter[tuple[str, str]] = Counter()
        # Each wakes whoever waits, and only references wait for less.
        wakes = bool(self.settings.reference_prefixes)
        for each in settled:
            source = each.source
            fenced = source.lease.fenced or each.outcome is Outcome.FENCED
            outcome, reason = (Outcome.FENCED, "") if fenced else (each.outcome, each.reason)
            self.admission.release(source)
            has_room_again = self.leases.settle(source, fenced=fenced)
            wakes = wakes or has_room_again or not len(source.lease.ledger)
            outcomes[outcome.value, reason] += 1
            if outcome is Outcome.DROPPED:
                self.metrics.camera_drops(source.frame.camera_id, reason).inc()
        for (name, reason), count in outcomes.items():
            self.metrics.frames(name, reason).inc(count)
        self.metrics.in_flight_frames.dec(len(settled))
        self.metrics.in_flight_bytes.dec(sum(each.source.nbytes for each in settled))
        if wakes:
            self.changed.fire()

    def hold(self, source: LeasedFrame, fetched: bytes) -> LeasedFrame:
        """The frame with what its reference named, counted until the frame is settled."""
        self.metrics.in_flight_bytes.inc(len(fetched))
        return self.leases.hold(source, fetched)

    def enqueue(self, lease: PartitionLease, items: list[Admitted]) -> None:
        """Let frames that were read wait for decode, but for those that a policy drops at once."""
        if self.freshness is not None and self.unfetched(lease) == 0:
            self._learn(self.freshness, items)
        self.leave_out(self.admission.add(lease, items))
        self.arrived.fire()

    def take(self, limit: int) -> list[Admitted]:
        """Frames whose turn it is, at most `limit`; there may be none though some wait: those were stale."""
        taken, gone = self.admission.take(limit, self.now_s())
        self.leave_out(gone)
        return taken

    def sealed(self, frames: Iterable[LeasedFrame]) -> None:
        """These frames are in a call, or have their outcome: others may be decoded."""
        for frame in frames:
            self.admission.release(frame)
        if len(self.admission) or self.ended:
            self.arrived.fire()

    def leave_out(self, gone: Sequence[Rejected]) -> None:
        """These frames are not decoded."""
        if gone:
            self.pass_by(gone)

    def unfetched(self, lease: PartitionLease) -> int | None:
        """Offsets that the partition had at its last fetch and that are left to read; None where unknown."""
        try:
            end: int | None = self.consumer.highwater(self.topic_partition(lease))
        except AssertionError:
            return None  # aiokafka's word for a partition that has just moved on
        if end is None or lease.next_offset is None:
            return None
        return max(0, end - max(lease.next_offset, lease.removed_to))

    def beside_backlog(self, rows: int) -> bool:
        """Whether Kafka holds more than `rows` frames of some partition, while another in use keeps up."""
        now_s, behind, keeping_up = self.now_s(), False, False
        for lease in self.leases:
            unfetched = self.unfetched(lease) or 0
            behind |= unfetched > rows
            keeping_up |= unfetched <= rows and not lease.full and now_s - lease.read_s < _IN_USE_S
        return behind and keeping_up

    def _learn(self, freshness: Freshness, items: list[Admitted]) -> None:
        """Frames that have just come to Kafka tell whose clock is behind."""
        sources = [item for item in items if isinstance(item, LeasedFrame)]
        for source in freshness.learn(sources):
            logger.warning(
                "camera %s: its clock is behind, or its frames take %.1f s to Kafka; age counts from there",
                source.frame.camera_id,
                source.broker_ms / 1000,
            )
        for camera_id in {source.frame.camera_id for source in sources}:
            skew_ms = freshness.skews.of(camera_id)
            self.metrics.camera_skew(camera_id, skew_ms / 1000)

    def give_up(self, lease: PartitionLease) -> None:
        """Frames that nobody has taken yet are left to the partition's next owner."""
        for item in self.admission.purge(lease):
            source = item.source if isinstance(item, Rejected) else item
            if self.freshness is None:
                self.settle([Settled(source, Outcome.FENCED)])
            else:
                # A newer frame may have been taken before this one: nothing may be published past it.
                self.pass_by([fenced(source)])
        # Whoever holds further frames of it looks at its state; nothing may be left to take at the end.
        self.changed.fire()
        self.arrived.fire()

    def fence(self, leases: Iterable[PartitionLease]) -> None:
        """End leases: from here on nothing of them is published or committed.

        One that ended before is left alone: its partition may have a newer lease by now.
        """
        gone = [lease for lease in leases if not lease.fenced]
        for lease in gone:
            self.give_up(lease)
            self.leases.fence(lease)
            self.metrics.forget_partition(lease.partition)
        if self.handover is not None:
            self.handover.release([lease.partition for lease in gone])
        self.metrics.partitions.set(len(self.leases))
        self.changed.fire()

    def fail(self, error: BaseException) -> None:
        """End reading with an error that the pipeline will see."""
        self.failure = self.failure or error
        self.arrived.fire()
        self.changed.fire()

    def now_s(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def now_ms(self) -> int:
        """The wall clock, for ages of frames only."""
        return time.time_ns() // 1_000_000
