"""Publishes events and dead letters in each partition's order, and settles what Kafka acknowledged. Shell.

Owns the order buffer, the delivery futures, the producers and transactions. How records are delivered is
one of two: `sender` (at least once) or `transactions` (exactly once).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from riverlens.kafka import connect
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.messages import LeasedFrame, Outcome, Prediction, Rejected, Settled, frame_of
from riverlens_worker.metrics import Metrics, Stage
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.ordering import Resequencer
from riverlens_worker.publisher.chooser import Chooser
from riverlens_worker.publisher.delivery import Delivery
from riverlens_worker.publisher.notices import LetterNotices
from riverlens_worker.publisher.outbox import (
    Entry,
    Outgoing,
    Topics,
    dead_letter_record,
    drop_record,
    event_record,
    with_trace,
)
from riverlens_worker.publisher.producer import see_topics
from riverlens_worker.publisher.sender import Sender
from riverlens_worker.publisher.transactions import GroupPorts, Transactions
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tracing import Tracer

logger = logging.getLogger(__name__)

_CHUNK = 256

Result = Prediction | Rejected


@dataclass(frozen=True, slots=True)
class PublisherPorts:
    """Where results come from, where outcomes go, and who says whether publishing is allowed.

    Attributes:
        left_out: hears of frames that no call takes, before their turn to be settled has come.
        is_member, committed: what exactly-once delivery asks the consumer group; see `GroupPorts`.
        tracer: hears of records and what became of them; None where tracing is off.
    """

    results: Channel[Result]
    settle: Callable[[Sequence[Settled]], None]
    may_publish: Callable[[], Awaitable[None]]
    is_member: Callable[[], Awaitable[bool]]
    committed: Callable[[int], Awaitable[int | None]]
    left_out: Callable[[Iterable[LeasedFrame]], None] = lambda _: None
    tracer: Tracer | None = None


class Publisher:
    """Results in any order in, events in order out. Ends when its input ends and all is acknowledged."""

    def __init__(self, ports: PublisherPorts, settings: WorkerSettings, metrics: Metrics) -> None:
        self._ports = ports
        self._tracer = ports.tracer
        self._metrics = metrics
        self._settings = settings
        self._topics = Topics(settings.events_topic, settings.dlq_topic, settings.model, "")
        self._chooser = Chooser.of(settings)
        self._order: dict[PartitionLease, Resequencer[Result]] = {}
        self._cut: set[PartitionLease] = set()
        self._notices = LetterNotices()
        self._in_hand = 0
        self._delivery: Delivery = (
            Transactions(
                settings, self._acknowledged, ports.settle, GroupPorts(ports.is_member, ports.committed)
            )
            if settings.exactly_once
            else Sender(settings, self._acknowledged, ports.settle, ports.may_publish)
        )

    async def start(self) -> None:
        """Connect, and see that the topics are there.

        Raises:
            UnreachableError: Kafka does not answer, or a topic is missing.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(connect(self._settings.kafka, self._delivery.start()))
            group.create_task(see_topics(self._settings))

    @property
    def in_hand(self) -> int:
        """Results taken and not handed on yet, without those that wait for an earlier one."""
        return self._in_hand

    @property
    def early(self) -> int:
        """Results that wait for an earlier frame of their partition."""
        return sum(map(len, self._order.values()))

    @property
    def unacknowledged(self) -> int:
        """Records handed on that Kafka has not acknowledged."""
        return self._delivery.waiting()

    def name_signature(self, signature: str) -> None:
        """The signature that answers, for the events; known once the model was found."""
        self._topics = Topics(self._topics.events, self._topics.dlq, self._topics.model, signature)

    async def run(self) -> None:
        """Publish until the input ends, then wait until all is acknowledged."""
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._delivery.run())
            try:
                while True:
                    results = await self._ports.results.receive_many(_CHUNK)
                    self._in_hand = len(results)
                    await self._publish(results)
                    self._in_hand = 0
            except EndOfStream:
                pass
            await self._delivery.flush()
            keeper.cancel()

    async def close(self, timeout_s: float) -> None:
        """Disconnect; what is not acknowledged by then is read again from Kafka."""
        await self._delivery.stop(timeout_s)

    async def take_over(self, partitions: Iterable[int]) -> None:
        """These partitions become ours; raises aiokafka's own errors."""
        await self._delivery.take_over(partitions)

    def release(self, partitions: Iterable[int]) -> None:
        """These partitions' leases are fenced."""
        self._delivery.release(partitions)

    async def _publish(self, results: Sequence[Result]) -> None:
        """Hand on what is next in its partition's order; the others wait for their turn."""
        rejected = [result.source for result in results if isinstance(result, Rejected)]
        if rejected:
            self._ports.left_out(rejected)
        ready = [each for result in results for each in self._in_order(result)]
        entries = [entry for each in ready if (entry := self._entry(each)) is not None]
        self._in_hand = len(entries)
        if entries:
            await self._delivery.deliver(entries)

    def _in_order(self, result: Result) -> list[Result]:
        source = frame_of(result)
        lease = source.lease
        if lease not in self._order:
            self._forget_fenced()
            self._order[lease] = Resequencer()
        return self._order[lease].push(source.ordinal, result)

    def _entry(self, result: Result) -> Entry | None:
        """What is to be delivered for a result; None where that is the partition's next owner's."""
        source = frame_of(result)
        lease = source.lease
        if isinstance(result, Rejected) and result.outcome is Outcome.FENCED:
            # Nothing behind a fenced frame may pass it: the next owner publishes it first.
            self._cut.add(lease)
        if lease.fenced or lease in self._cut:
            self._ports.settle([Settled(source, Outcome.FENCED)])
            return None
        if isinstance(result, Prediction):
            self._observe_stages(result)
            if self._chooser is not None:
                result = self._chooser.choose(result)
        return self._recorded(result)

    def _recorded(self, result: Result) -> Entry:
        now_ms = time.time_ns() // 1_000_000
        if isinstance(result, Prediction):
            outgoing = event_record(result, self._topics, now_ms)
        elif result.outcome is Outcome.DEAD_LETTERED:
            outgoing = dead_letter_record(result, self._topics, now_ms)
        elif self._settings.publish_drops:
            outgoing = drop_record(result, self._topics, now_ms)
        else:
            if self._tracer is not None:
                self._tracer.passed_over(result)
            return Settled(result.source, result.outcome, result.reason)
        return outgoing if self._tracer is None else with_trace(outgoing, self._tracer.record_made(result))

    def _observe_stages(self, prediction: Prediction) -> None:
        """The stages that the event's `timing_ms` tells; predict and publish are timed where they happen."""
        stage, decoded = self._metrics.stage, prediction.source
        stage[Stage.BROKER].observe(max(0.0, decoded.source.broker_ms / 1000))
        stage[Stage.QUEUE].observe(prediction.queue_ms / 1000)
        stage[Stage.DECODE].observe(decoded.decode_ms / 1000)

    def _forget_fenced(self) -> None:
        """Order buffers of ended leases go once they are empty: nothing more can come for them."""
        gone = [k for k, waiting in self._order.items() if k.fenced and not len(k.ledger) + len(waiting)]
        for lease in gone:
            del self._order[lease]
            self._cut.discard(lease)
        if self._chooser is not None:
            self._chooser.forget(gone)

    def _acknowledged(self, records: Sequence[Outgoing]) -> None:
        wall_s, now_s = time.time(), time.monotonic()
        for outgoing in records:
            fenced = outgoing.settled.source.lease.fenced
            if outgoing.traced is not None and self._tracer is not None:
                outcome = Outcome.FENCED if fenced else outgoing.settled.outcome
                self._tracer.settled(outgoing.traced, outcome)
            if fenced:
                continue
            if outgoing.is_event:
                self._observe_event(outgoing, wall_s, now_s)
            elif outgoing.settled.outcome is Outcome.DEAD_LETTERED:
                self._notices.tell(outgoing, now_s)
                if self._chooser is not None:
                    self._chooser.dead_lettered(outgoing.settled)
        self._ports.settle([outgoing.settled for outgoing in records])

    def _observe_event(self, outgoing: Outgoing, wall_s: float, now_s: float) -> None:
        metrics = self._metrics
        metrics.frame_latency.observe(max(0.0, wall_s - outgoing.captured_at_ms / 1000))
        if outgoing.answered_s is not None:
            metrics.stage[Stage.PUBLISH].observe(now_s - outgoing.answered_s)
        metrics.camera_frames(outgoing.settled.source.frame.camera_id).inc()
