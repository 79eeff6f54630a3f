"""Exactly once, one leased partition: its records and offsets in transactions of its own producer.

A transaction opens late: an interval's records are held here (nobody could read them before the commit
anyway), then sent, with the offset, and committed in one burst. So a worker that stops in between leaves
readers waiting only if it stops within a burst.

Any error ends the producer. The next one, of the same transactional id, makes Kafka finish what the last
one began; the committed offset then tells what was published, and the rest is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError
from aiokafka.structs import OffsetAndMetadata

from riverlens.kafka_producer import TOO_LARGE, Verdict, end_client, judge
from riverlens_worker.backoff import Backoff
from riverlens_worker.channel import Signal
from riverlens_worker.errors import PublishError
from riverlens_worker.messages import Settled
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher.outbox import Entry, Outgoing, instead, source_of
from riverlens_worker.publisher.producer import forbidden
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_MOST_RECORDS = 2_000
_PAUSE_S = 0.005
"""Least time from a commit to the next transaction: sooner, aiokafka waits 20 ms for the last one to end."""
_TOLD_EVERY = 10

_RUIN = (KafkaError, OSError, TimeoutError, AssertionError, asyncio.InvalidStateError, IllegalOperation)
"""What a failed transaction raises; the last three where aiokafka finds its state gone wrong in mid-burst."""


class RuinedError(Exception):
    """The transaction failed: its producer is of no use any more."""


@dataclass(frozen=True, slots=True)
class LanePorts:
    """The world of a lane.

    Attributes:
        acknowledged, settle: told once for each entry: of its record, or of the frame without one.
        is_member: asks the group whether we are still in it; where not, every lease is fenced by then.
        committed: the partition's committed offset as the group knows it, None where there is none.
        new_producer: a started transactional producer of a partition; raises aiokafka's errors.
    """

    acknowledged: Callable[[Sequence[Outgoing]], None]
    settle: Callable[[Sequence[Settled]], None]
    is_member: Callable[[], Awaitable[bool]]
    committed: Callable[[int], Awaitable[int | None]]
    new_producer: Callable[[int], Awaitable[Any]]


class Lane:
    """Entries in, in offset order; out when their transaction is committed. Owns the producer."""

    def __init__(
        self, lease: PartitionLease, producer: Any, ports: LanePorts, settings: WorkerSettings
    ) -> None:
        self.lease = lease
        self.changed = Signal()
        self._producer = producer
        self._ports = ports
        self._settings = settings
        self._entries: list[Entry] = []
        self._done_below = 0
        self._one_by_one = False
        self._backoff = Backoff()
        self._began_s = self._ended_s = float("-inf")

    def __len__(self) -> int:
        """Entries not yet committed."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Append the next entry of the lease; one that a former owner published meanwhile is done with."""
        if source_of(entry).offset < self._done_below:
            self._tell([entry])
            return
        self._entries.append(entry)
        self.changed.fire()

    async def run(self) -> None:
        """Commit what comes, an interval at a time, until the lease is fenced or this is cancelled.

        Raises:
            PublishError: Kafka forbids it.
        """
        while not self.lease.fenced:
            await self.changed.until(lambda: bool(self._entries) or self.lease.fenced)
            await self._wait_for_turn()
            if self.lease.fenced:
                break
            try:
                await self._transact()
            except RuinedError as ruin:
                await self._recover(ruin.__cause__ or ruin)
        self.give_up()

    def give_up(self) -> None:
        """What is not committed is left to the partition's next owner."""
        self._acknowledge(len(self._entries))

    async def close(self, grace_s: float) -> None:
        """End the producer; an open transaction is aborted by the next one of its id."""
        await end_client(self._producer, grace_s=grace_s)

    async def _wait_for_turn(self) -> None:
        due_s = max(self._began_s + self._settings.transaction_interval_ms / 1000, self._ended_s + _PAUSE_S)
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _transact(self) -> None:
        """One transaction of what waits now.

        Raises:
            RuinedError: it was not committed, or nobody knows.
        """
        self._began_s = time.monotonic()
        count = min(len(self._entries), _MOST_RECORDS)
        try:
            async with asyncio.timeout(self._settings.transaction_timeout_ms / 1000):
                await self._burst(count)
        except _RUIN as error:
            raise RuinedError from self._cause(error)
        self._ended_s = time.monotonic()
        self._one_by_one = False
        self._acknowledge(count)

    async def _burst(self, count: int) -> None:
        """Begin, send all, add the offset, see every record acknowledged, commit."""
        producer, group_id = self._producer, self._settings.group_id
        last = source_of(self._entries[count - 1])
        offset = {
            TopicPartition(self.lease.topic, self.lease.partition): OffsetAndMetadata(last.offset + 1, "")
        }
        await producer.begin_transaction()
        deliveries = [
            await self._send(place)
            for place, entry in enumerate(self._entries[:count])
            if isinstance(entry, Outgoing)
        ]
        try:
            await producer.send_offsets_to_transaction(offset, group_id)
        finally:
            results = await asyncio.gather(*deliveries, return_exceptions=True)
        # commit_transaction() succeeds though a record was refused, and then that event is gone.
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await producer.commit_transaction()

    async def _send(self, place: int) -> asyncio.Future[Any]:
        """Hand one record over; what the client itself finds too large is replaced on the spot."""
        while True:
            outgoing = self._entries[place]
            assert isinstance(outgoing, Outgoing)  # noqa: S101  # a record is only ever replaced by a record
            there = await self._producer.partitions_for(outgoing.topic)
            try:
                delivery: asyncio.Future[Any] = await self._producer.send(
                    outgoing.topic,
                    outgoing.value,
                    key=outgoing.key,
                    headers=list(outgoing.headers),
                    partition=outgoing.partition if there and outgoing.partition in there else None,
                )
            except TOO_LARGE as error:
                self._replace(place, outgoing, error)
                continue
            if self._one_by_one:
                await self._await_verdict(place, outgoing, delivery)
            return delivery

    async def _await_verdict(self, place: int, outgoing: Outgoing, delivery: asyncio.Future[Any]) -> None:
        try:
            await delivery
        except KafkaError as error:
            if judge(error) is Verdict.REJECTED:
                self._replace(place, outgoing, error)
            raise

    def _replace(self, place: int, outgoing: Outgoing, error: BaseException) -> None:
        letter = instead(outgoing, self._settings.dlq_topic, error, too_large=isinstance(error, TOO_LARGE))
        if letter is None:
            raise PublishError(f"Kafka refuses even an empty dead letter: {error!r}; see dlq_topic")
        self._entries[place] = letter

    def _cause(self, error: BaseException) -> BaseException:
        """What made the transaction fail, where aiokafka knows better than the call that raised."""
        ended = self._producer._txn_manager._transaction_waiter  # noqa: SLF001  # aiokafka tells it nowhere else
        if ended is not None and ended.done() and not ended.cancelled() and ended.exception() is not None:
            found: BaseException = ended.exception()
            return error if judge(found) is Verdict.AGAIN else found
        return error

    async def _recover(self, error: BaseException) -> None:
        """A new producer, if the partition is still ours: else it would fence its rightful owner."""
        if judge(error) is Verdict.REFUSED:
            raise PublishError(forbidden(self._settings, error)) from error
        partition = self.lease.partition
        logger.warning("a transaction of partition %d failed, its producer is replaced: %r", partition, error)
        self._one_by_one = judge(error) is Verdict.REJECTED
        attempt = 0
        while not self.lease.fenced:
            await end_client(self._producer, grace_s=0)
            try:
                if await self._ports.is_member() and not self.lease.fenced:
                    await self._begin_anew()
                    return
            except (KafkaError, OSError, TimeoutError) as again:
                if judge(again) is Verdict.REFUSED:
                    raise PublishError(forbidden(self._settings, again)) from again
                if attempt % _TOLD_EVERY == 0:
                    logger.warning("Kafka takes no transactions of partition %d yet: %r", partition, again)
            attempt += 1
            # Not for secrets: jitter against many workers coming back at once.
            await asyncio.sleep(self._backoff.delay_s(attempt, random.random()))  # noqa: S311  # jitter

    async def _begin_anew(self) -> None:
        self._producer = await self._ports.new_producer(self.lease.partition)
        committed = await self._ports.committed(self.lease.partition)
        if committed is not None:
            # Frames below it that are still at the model server are published as well.
            self._done_below = committed
            self._acknowledge(sum(source_of(entry).offset < committed for entry in self._entries))

    def _acknowledge(self, count: int) -> None:
        """The first entries are done with: committed, or fenced with their lease."""
        done: Sequence[Entry] = self._entries[:count]
        del self._entries[:count]
        self._tell(done)
        self.changed.fire()

    def _tell(self, done: Sequence[Entry]) -> None:
        for kind, entries in groupby(done, type):
            tell: Callable[[Sequence[Any]], None] = (
                self._ports.acknowledged if kind is Outgoing else self._ports.settle
            )
            tell(list(entries))
