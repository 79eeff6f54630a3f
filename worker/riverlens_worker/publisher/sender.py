"""At least once: one idempotent producer, replaced when it is ruined.

A rejection hits all records of a Kafka batch, so after one the unacknowledged are sent one by one to find
the guilty. What is sent again has the same event id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from riverlens.kafka_producer import TOO_LARGE, Verdict, end_client, judge, silence
from riverlens_worker.backoff import Backoff
from riverlens_worker.channel import Signal
from riverlens_worker.errors import PublishError
from riverlens_worker.messages import Settled
from riverlens_worker.publisher.outbox import Outbox, Outgoing, instead
from riverlens_worker.publisher.producer import forbidden, producer_options
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_GRACE_S = 5.0


class Sender:
    """Sends records in order; calls `acknowledged` once for each that Kafka holds for good."""

    def __init__(
        self,
        settings: WorkerSettings,
        acknowledged: Callable[[Outgoing], None],
        settle: Callable[[Settled], None],
    ) -> None:
        self._settings = settings
        self._acknowledged = acknowledged
        self._settle = settle
        self._outbox = Outbox()
        self._producer: Any = None
        self._generation = 0
        self._failure: BaseException | None = None
        self._failures = 0
        self._changed = Signal()
        self._order = asyncio.Lock()
        self._backoff = Backoff()
        self._seen: set[tuple[str, int]] = set()

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
        self._generation += 1
        self._failure = None

    async def deliver(self, outgoing: Outgoing) -> None:
        """Hand one record to the producer; waits while it is being replaced, or its buffer is full."""
        async with self._order:
            if outgoing.settled.source.lease.fenced:
                # Fenced while this waited: what was sent before it may have been left to the next owner.
                self._acknowledged(outgoing)
                return
            number = self._outbox.add(outgoing)
            # After a failure the next producer sends it, behind what failed: nothing may pass that.
            if self._failure is None:
                await self._send(number, outgoing)

    def pass_over(self, settled: Settled) -> None:
        """Settled at once: its offset is committed only when those before it are settled too."""
        self._settle(settled)

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

    async def _send(self, number: int, outgoing: Outgoing) -> asyncio.Future[Any] | None:
        """Returns the delivery's future; None where the record could not even be handed over."""
        generation = self._generation
        try:
            future: asyncio.Future[Any] = await self._producer.send(
                outgoing.topic,
                outgoing.value,
                key=outgoing.key,
                headers=list(outgoing.headers),
                partition=await self._partition(outgoing),
            )
        except TOO_LARGE as error:
            await self._set_aside(number, outgoing, error)
            return None
        except Exception as error:  # noqa: BLE001  # a ruined producer raises KafkaError and worse
            self._fail(error)
            return None
        future.add_done_callback(lambda done: self._delivered(number, generation, done))
        return future

    async def _partition(self, outgoing: Outgoing) -> int | None:
        """The frame's own partition number where the topic has it, else the key decides."""
        place = outgoing.topic, outgoing.partition
        if place not in self._seen:
            there = await self._producer.partitions_for(outgoing.topic)
            if not there or outgoing.partition not in there:
                return None
            # Topics lose partitions only where they are made anew: this producer fails then.
            self._seen.add(place)
        return outgoing.partition

    def _delivered(self, number: int, generation: int, done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = done.exception()
        if generation != self._generation:
            return  # a replaced producer's: the record was sent again
        if error is not None:
            self._fail(error)
            return
        if done.result() is None:
            return  # given up when the producer ended: nobody knows, so it is sent again
        self._failures = 0
        outgoing = self._outbox.acknowledge(number)
        if outgoing is not None:
            self._acknowledged(outgoing)
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
            if outgoing.settled.source.lease.fenced:
                self._outbox.acknowledge(number)
                self._acknowledged(outgoing)
        if not len(self._outbox):
            self._changed.fire()

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
