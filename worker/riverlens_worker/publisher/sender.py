"""One idempotent producer, replaced when it is ruined.

aiokafka 0.14: after any rejected record an idempotent producer fails every later one with
OutOfOrderSequenceNumber; a batch that expired leaves a hole in the sequence likewise. Rejections hit all
records of a Kafka batch, so after one the unacknowledged are sent one by one to find the guilty.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)

from riverlens.dead_letter import Reason
from riverlens_worker.backoff import Backoff
from riverlens_worker.channel import Signal
from riverlens_worker.errors import PublishError
from riverlens_worker.metrics import Metrics
from riverlens_worker.publisher.outbox import Outbox, Outgoing, Topics, refused_event, smaller
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)
_REFUSED = (*_TOO_LARGE, InvalidTimestampError, UnsupportedForMessageFormatError)
_FORBIDDEN = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, InvalidTopicError)
_OVERHEAD_BYTES = 1024 * 1024
_STOP_S = 5.0


class Sender:
    """Sends records in order; calls `acknowledged` once for each that Kafka holds for good."""

    def __init__(
        self, settings: WorkerSettings, acknowledged: Callable[[Outgoing], None], metrics: Metrics
    ) -> None:
        self._settings = settings
        self._acknowledged = acknowledged
        self._metrics = metrics
        self._outbox = Outbox()
        self._producer: Any = None
        self._generation = 0
        self._failure: BaseException | None = None
        self._failures = 0
        self._changed = Signal()
        self._order = asyncio.Lock()
        self._backoff = Backoff()

    async def start(self) -> None:
        """Connect; raises aiokafka's own errors."""
        producer = AIOKafkaProducer(
            **self._settings.kafka.client_options(),
            acks="all",
            enable_idempotence=True,
            max_batch_size=1024 * 1024,
            max_request_size=self._settings.max_frame_bytes + _OVERHEAD_BYTES,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        self._generation += 1
        self._failure = None

    async def has_topic(self, topic: str) -> bool:
        """Whether the topic exists."""
        return topic in (await self._producer.client.fetch_all_metadata()).topics()

    async def send(self, outgoing: Outgoing) -> None:
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

    async def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        await self._changed.until(lambda: len(self._outbox) == 0)

    async def keep_alive(self) -> None:
        """Replace the producer whenever a delivery failed, until cancelled.

        Raises:
            PublishError: Kafka does not let this worker write to its topics.
        """
        while True:
            await self._changed.until(lambda: self._failure is not None)
            if isinstance(self._failure, _FORBIDDEN):
                raise PublishError(
                    f"Kafka does not let us write to {self._settings.events_topic!r} and "
                    f"{self._settings.dlq_topic!r} ({self._failure!r}); "
                    "see events_topic, dlq_topic and this user's rights"
                )
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
            await _stop(self._producer, timeout_s)

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
        except _TOO_LARGE as error:
            await self._set_aside(number, outgoing, error)
            return None
        except Exception as error:  # noqa: BLE001  # a ruined producer raises KafkaError and worse
            self._fail(error)
            return None
        future.add_done_callback(lambda done: self._delivered(number, generation, done))
        return future

    async def _partition(self, outgoing: Outgoing) -> int | None:
        """The frame's own partition number where the topic has it, else the key decides."""
        there = await self._producer.partitions_for(outgoing.topic)
        return outgoing.partition if there and outgoing.partition in there else None

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
        self._failures = 0
        outgoing = self._outbox.acknowledge(number)
        if outgoing is not None:
            self._acknowledged(outgoing)
        if not len(self._outbox):
            self._changed.fire()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            _halt(self._producer)
            self._changed.fire()

    async def _replace(self) -> None:
        """A new producer, then all that is unacknowledged again, in order."""
        failure, attempt = self._failure, 0
        logger.warning("publishing failed and is tried again with a new producer: %r", failure)
        await _discard(self._producer, failure)
        self._drop_fenced()
        one_by_one = isinstance(failure, _REFUSED)
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
                return  # ruined again: keep_alive begins anew
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
        except _REFUSED as error:
            await self._set_aside(number, outgoing, error)
            self._fail(error)
        except KafkaError as error:
            self._fail(error)

    async def _set_aside(self, number: int, outgoing: Outgoing, error: BaseException) -> None:
        """A record that Kafka refuses alone: the event becomes a dead letter, that one loses its value."""
        if outgoing.is_event:
            too_large = isinstance(error, _TOO_LARGE)
            reason = Reason.EVENT_TOO_LARGE if too_large else Reason.EVENT_REJECTED
            topics = Topics(self._settings.events_topic, self._settings.dlq_topic, self._settings.model, "")
            now_ms = time.time_ns() // 1_000_000
            letter = refused_event(outgoing, topics, reason, repr(error), now_ms)
        else:
            less = smaller(outgoing)
            if less is None:
                self._fail(error)
                return
            letter = less
        self._outbox.replace(number, letter)
        if self._failure is None:
            await self._send(number, letter)


def _halt(producer: Any) -> None:
    """Let a ruined producer send nothing more: what waits in it must not overtake the record that failed.

    Its stop() would first flush, and where the broker has seen nothing of this producer in a partition yet,
    it takes any sequence number. Only the sender's own task can be told; what is on the wire is awaited.
    """
    producer._sender.sender_task.cancel()  # noqa: SLF001  # no public way to stop without a flush


async def _discard(producer: Any, failure: BaseException | None) -> None:
    """Close a halted producer: what is on the wire may still be acknowledged, the rest fails here."""
    await asyncio.wait([producer._sender.sender_task], timeout=_STOP_S)  # noqa: SLF001  # as above
    producer._message_accumulator.fail_all(failure)  # noqa: SLF001  # else stop() leaves a task that waits for ever
    await _stop(producer, _STOP_S)


async def _stop(producer: Any, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await producer.stop()
    except TimeoutError:
        logger.warning("the producer did not stop within %.0f s and is left behind", timeout_s)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.warning("stopping the producer failed")
    except Exception as error:  # noqa: BLE001  # a ruined producer may raise anything; it is given up
        logger.warning("stopping the producer failed: %r", error)
