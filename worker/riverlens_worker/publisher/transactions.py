"""Exactly once: a lane of transactions for each leased partition.

One transactional producer a partition, because a shared one cannot fence a worker that lost only some of
its partitions: what aiokafka adds to a transaction carries no generation of the group.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTransactionTimeout

from riverlens.kafka_producer import end_client
from riverlens_worker.channel import Signal
from riverlens_worker.errors import PublishError
from riverlens_worker.messages import Settled
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher.lane import Lane, LanePorts
from riverlens_worker.publisher.outbox import Entry, Outgoing, source_of
from riverlens_worker.publisher.producer import producer_options, transactional_id
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_AT_ONCE = 8
_CUT_OFF_S = 1.0  # `end_client` after its grace, where Kafka answers
_RETRY_MS = 20
"""aiokafka's pause before it asks again: with 100 ms, one commit in a hundred takes as much longer."""


@dataclass(frozen=True, slots=True)
class GroupPorts:
    """What transactions ask the consumer group; see `LanePorts`."""

    is_member: Callable[[], Awaitable[bool]]
    committed: Callable[[int], Awaitable[int | None]]


class Transactions:
    """Lanes by lease, and the producers of partitions that have no lane yet."""

    def __init__(
        self,
        settings: WorkerSettings,
        acknowledged: Callable[[Sequence[Outgoing]], None],
        settle: Callable[[Sequence[Settled]], None],
        group: GroupPorts,
    ) -> None:
        self._settings = settings
        self._ports = LanePorts(acknowledged, settle, group.is_member, group.committed, self._new_producer)
        self._acknowledged = acknowledged
        self._lanes: dict[PartitionLease, tuple[Lane, asyncio.Task[None]]] = {}
        self._producers: dict[int, Any] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._changed = Signal()

    async def start(self) -> None:
        """Nothing to connect yet: producers come with their partitions."""

    async def run(self) -> None:
        """Watch the lanes, until cancelled.

        Raises:
            PublishError: Kafka does not let this worker write, or use transactions.
        """
        await self._changed.until(lambda: self._failure is not None)
        assert self._failure is not None  # noqa: S101  # just waited for; mypy cannot know
        raise self._failure

    async def deliver(self, entries: Sequence[Entry]) -> None:
        """Add entries to their lanes. Never waits: a lease's room bounds what a lane holds."""
        for entry in entries:
            lane = self._lane(source_of(entry).lease)
            if lane is not None:
                lane.add(entry)
            elif isinstance(entry, Outgoing):
                self._acknowledged([entry])
            else:
                self._ports.settle([entry])

    def waiting(self) -> int:
        """Entries whose transaction is not committed."""
        return sum(len(lane) for lane, _ in self._lanes.values())

    async def flush(self) -> None:
        """Wait until every lane is empty."""
        for lane, _ in tuple(self._lanes.values()):
            await lane.changed.until(lambda lane=lane: len(lane) == 0)  # type: ignore[misc]  # mypy: lambda default

    async def take_over(self, partitions: Iterable[int]) -> None:
        """Start a producer for each: that fences every earlier owner's, and ends its open transaction.

        Raises:
            KafkaError: Kafka does not answer, or refuses.
            PublishError: it refuses transactions of the length that is set.
        """
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(partition: int) -> None:
            async with gate:
                self._producers[partition] = await self._new_producer(partition)

        wanted = list(partitions)
        self._end_idle(wanted)
        results = await asyncio.gather(*map(one, wanted), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error

    def release(self, partitions: Iterable[int]) -> None:
        """Give up what the partitions' lanes hold and end their producers, in the background."""
        gone = set(partitions)
        for lease, (lane, task) in tuple(self._lanes.items()):
            if lease.partition in gone and lease.fenced:
                del self._lanes[lease]
                task.cancel()
                lane.give_up()
                self._end(lane.close(0))
        self._end_idle(gone)

    async def stop(self, timeout_s: float) -> None:
        """End all producers; transactions that are open are aborted by the partition's next owner."""
        for lane, task in self._lanes.values():
            task.cancel()
            self._end(lane.close(timeout_s))
        self._lanes.clear()
        self._end_idle(list(self._producers))
        if self._endings:
            _, late = await asyncio.wait(self._endings, timeout=timeout_s + _CUT_OFF_S)
            for ending in late:
                # With Kafka away a client's own tasks look for its coordinator for ever.
                ending.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _end_idle(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            producer = self._producers.pop(partition, None)
            if producer is not None:
                self._end(end_client(producer, grace_s=0))

    def _end(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _lane(self, lease: PartitionLease) -> Lane | None:
        """The lease's lane, made at its first record; None once the lease is fenced."""
        if lease.fenced:
            return None
        if lease not in self._lanes:
            lane = Lane(lease, self._producers.pop(lease.partition), self._ports, self._settings)
            task = asyncio.create_task(lane.run(), name=f"lane-{lease.partition}")
            task.add_done_callback(self._lane_ended)
            self._lanes[lease] = (lane, task)
        return self._lanes[lease][0]

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._changed.fire()

    def _too_long(self) -> str:
        settings = self._settings
        return (
            f"Kafka at {settings.kafka.bootstrap_servers} allows no transactions as long as "
            f"transaction_timeout_ms ({settings.transaction_timeout_ms}): set at most its "
            "transaction.max.timeout.ms"
        )

    async def _new_producer(self, partition: int) -> Any:
        options = producer_options(self._settings) | {"retry_backoff_ms": _RETRY_MS}
        producer = AIOKafkaProducer(
            **options,
            transactional_id=transactional_id(self._settings, partition),
            transaction_timeout_ms=self._settings.transaction_timeout_ms,
        )
        try:
            async with asyncio.timeout(self._settings.transaction_timeout_ms / 1000):
                await producer.start()
        except BaseException as error:
            await end_client(producer, grace_s=0)
            if isinstance(error, InvalidTransactionTimeout):
                raise PublishError(self._too_long()) from None
            raise
        return producer
