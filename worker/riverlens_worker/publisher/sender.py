"""At least once: one idempotent producer, replaced when it is ruined.

A rejection hits all records of a Kafka batch, so after one the unacknowledged are sent one by one to find
the guilty. What is sent again has the same event id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from riverlens.kafka_producer import TOO_LARGE, Verdict, end_client, judge, silence
from riverlens_worker.backoff import Backoff
from riverlens_worker.channel import Signal
from riverlens_worker.errors import PublishError
from riverlens_worker.messages import Settled
from riverlens_worker.publisher.outbox import Entry, Outbox, Outgoing, instead
from riverlens_worker.publisher.producer import forbidden, producer_options, queue_batch
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_GRACE_S = 5.0

Place = tuple[str, int]
"""Topic, and the frame's partition number."""
Numbered = tuple[int, Outgoing]
"""A record and its number in the outbox."""


class Sender:
    """Sends records in order; tells `acknowledged` once of each that Kafka holds for good."""

    def __init__(
        self,
        settings: WorkerSettings,
        acknowledged: Callable[[Sequence[Outgoing]], None],
        settle: Callable[[Sequence[Settled]], None],
        may_publish: Callable[[], Awaitable[None]],
    ) -> None:
        """`may_publish` returns once it is certain that the open leases are ours."""
        self._settings = settings
        self._acknowledged = acknowledged
        self._settle = settle
        self._may_publish = may_publish
        self._outbox = Outbox()
        self._producer: Any = None
        self._generation = 0
        self._failure: BaseException | None = None
        self._failures = 0
        self._changed = Signal()
        self._order = asyncio.Lock()
        self._backoff = Backoff()
        self._seen: set[Place] = set()
        self._under_way: Counter[Place] = Counter()

    async def start(self) -> None:
        """Connect; raises aiokafka's own errors."""
        producer = AIOKafkaProducer(**producer_options(self._settings))
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        self._seen.clear()
        self._under_way.clear()
        self._generation += 1
        self._failure = None

    async def deliver(self, entries: Sequence[Entry]) -> None:
        """Hand records to the producer; waits while it is being replaced, or its buffer is full.

        A frame that becomes none is settled at once: its offset is committed only when those before it are.
        """
        async with self._order:
            by_partition: dict[int, list[Numbered]] = {}
            for entry in entries:
                if isinstance(entry, Outgoing):
                    by_partition.setdefault(entry.partition, []).append((self._outbox.add(entry), entry))
            self._settle([entry for entry in entries if isinstance(entry, Settled)])
            for partition, records in by_partition.items():
                # An event that is too large becomes a dead letter: none behind it may have left before.
                for topic, run in groupby(records, lambda record: record[1].topic):
                    await self._post((topic, partition), list(run))

    async def take_over(self, partitions: Iterable[int]) -> None:
        """Nothing to do: the group alone says whose a partition is."""

    def release(self, partitions: Iterable[int]) -> None:
        """Nothing to do."""

    def waiting(self) -> int:
        """Records that Kafka has not acknowledged."""
        return len(self._outbox)

    async def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        await self._changed.until(lambda: len(self._outbox) == 0)

    async def run(self) -> None:
        """Replace the producer whenever a delivery failed, until cancelled.

        Raises:
            PublishError: Kafka does not let this worker write to its topics.
        """
        while True:
            await self._changed.until(lambda: self._failure is not None)
            if judge(self._failure) is Verdict.REFUSED:
                raise PublishError(forbidden(self._settings, self._failure))
            self._failures += 1
            if self._failures > 1:
                # A producer that connects and then fails again and again must not be made in a tight loop.
                delay_s = self._backoff.delay_s(self._failures - 1, random.random())  # noqa: S311  # jitter
                await asyncio.sleep(delay_s)
            async with self._order:
                await self._replace()

    async def stop(self, timeout_s: float) -> None:
        """Stop the producer within the time: with the broker away aiokafka's own stop takes 75 s."""
        if self._producer is not None:
            await end_client(self._producer, grace_s=timeout_s)

    async def _post(self, place: Place, records: list[Numbered]) -> None:
        """Send records of one place: together where nothing is under way there, else one by one.

        Behind what is under way single records are put together by aiokafka, as many as come meanwhile.
        """
        if len(records) > 1 and not self._under_way[place] and self._failure is None:
            await self._may_publish()
            records = await self._send_together(place, records)
        for number, outgoing in records:
            # The one before it may have waited for room: long enough to lose the partition.
            await self._may_publish()
            # After a failure the next producer sends it, behind what failed: nothing may pass that.
            if self._failure is None and not self._leave_if_fenced(number, outgoing):
                await self._send(number, outgoing)

    async def _send_together(self, place: Place, records: list[Numbered]) -> list[Numbered]:
        """Send as many of the first as go into one batch: one future for all of them. Returns the rest."""
        try:
            if not await self._is_there(place):
                return records
            batch = self._producer.create_batch()
            posted, rest = self._fill(batch, records)
            # A first record is taken whatever its size, and no other beside one that is too large.
            if len(posted) < 2:  # noqa: PLR2004  # together
                return records
            topic, partition = place
            self._follow(queue_batch(self._producer, batch, topic, partition), place, posted)
        except Exception as error:  # noqa: BLE001  # a ruined producer raises KafkaError and worse
            self._fail(error)
            return records
        return rest

    def _fill(self, batch: Any, records: list[Numbered]) -> tuple[list[int], list[Numbered]]:
        """Fill the batch while there is room; returns the numbers of what it holds, and the other records."""
        posted: list[int] = []
        for index, (number, outgoing) in enumerate(records):
            if self._leave_if_fenced(number, outgoing):
                continue
            headers = list(outgoing.headers)
            if batch.append(timestamp=None, key=outgoing.key, value=outgoing.value, headers=headers) is None:
                return posted, records[index:]
            posted.append(number)
        return posted, []

    async def _send(self, number: int, outgoing: Outgoing) -> asyncio.Future[Any] | None:
        """Returns the delivery's future; None where the record could not even be handed over."""
        place = outgoing.topic, outgoing.partition
        try:
            # The frame's own partition number where the topic has it, else the key decides.
            future: asyncio.Future[Any] = await self._producer.send(
                outgoing.topic,
                outgoing.value,
                key=outgoing.key,
                headers=list(outgoing.headers),
                partition=outgoing.partition if await self._is_there(place) else None,
            )
        except TOO_LARGE as error:
            await self._set_aside(number, outgoing, error)
            return None
        except Exception as error:  # noqa: BLE001  # a ruined producer raises KafkaError and worse
            self._fail(error)
            return None
        self._follow(future, place, [number])
        return future

    async def _is_there(self, place: Place) -> bool:
        """Whether the topic has this partition."""
        topic, partition = place
        if place not in self._seen:
            there = await self._producer.partitions_for(topic)
            if not there or partition not in there:
                return False
            # Topics lose partitions only where they are made anew: this producer fails then.
            self._seen.add(place)
        return True

    def _follow(self, future: asyncio.Future[Any], place: Place, numbers: list[int]) -> None:
        generation = self._generation
        self._under_way[place] += 1
        future.add_done_callback(lambda done: self._delivered(numbers, place, generation, done))

    def _delivered(
        self, numbers: list[int], place: Place, generation: int, done: asyncio.Future[Any]
    ) -> None:
        if done.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = done.exception()
        if generation != self._generation:
            return  # a replaced producer's: the records were sent again
        self._under_way[place] -= 1
        if error is not None:
            self._fail(error)
            return
        if done.result() is None:
            return  # given up when the producer ended: nobody knows, so they are sent again
        self._failures = 0
        records = [self._outbox.acknowledge(number) for number in numbers]
        self._acknowledged([outgoing for outgoing in records if outgoing is not None])
        if not len(self._outbox):
            self._changed.fire()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            silence(self._producer)
            self._changed.fire()

    async def _replace(self) -> None:
        """A new producer, then all that is unacknowledged again, in order."""
        failure, attempt = self._failure, 0
        logger.warning("publishing failed and is tried again with a new producer: %r", failure)
        await end_client(self._producer, grace_s=_GRACE_S)
        self._drop_fenced()
        one_by_one = judge(failure) is Verdict.REJECTED
        while True:
            attempt += 1
            try:
                await self.start()
            except (KafkaError, OSError) as error:
                if attempt % 10 == 1:
                    logger.warning("Kafka does not take events yet: %r", error)
                # Not for secrets: jitter against many workers coming back at once.
                await asyncio.sleep(self._backoff.delay_s(attempt, random.random()))  # noqa: S311  # jitter
                continue
            break
        self._drop_fenced()
        for number, outgoing in self._outbox.waiting():
            if self._failure is not None:
                return  # ruined again: `run` begins anew
            future = await self._send(number, outgoing)
            if one_by_one and future is not None:
                await self._await_verdict(number, outgoing, future)

    def _drop_fenced(self) -> None:
        """What belongs to partitions that moved on meanwhile is their next owner's to publish."""
        for number, outgoing in self._outbox.waiting():
            self._leave_if_fenced(number, outgoing)
        if not len(self._outbox):
            self._changed.fire()

    def _leave_if_fenced(self, number: int, outgoing: Outgoing) -> bool:
        """Give a record up whose partition has moved on: what came before it may be its next owner's.

        Returns whether it has.
        """
        fenced = outgoing.settled.source.lease.fenced
        if fenced and self._outbox.acknowledge(number) is not None:
            self._acknowledged([outgoing])
        return fenced

    async def _await_verdict(self, number: int, outgoing: Outgoing, future: asyncio.Future[Any]) -> None:
        try:
            await future
        except KafkaError as error:
            if judge(error) is Verdict.REJECTED:
                await self._set_aside(number, outgoing, error)
            self._fail(error)

    async def _set_aside(self, number: int, outgoing: Outgoing, error: BaseException) -> None:
        """A record that Kafka refuses alone: the event becomes a dead letter, that one loses its value."""
        letter = instead(outgoing, self._settings.dlq_topic, error, too_large=isinstance(error, TOO_LARGE))
        if letter is None:
            self._fail(error)
            return
        self._outbox.replace(number, letter)
        if self._failure is None:
            await self._send(number, letter)
