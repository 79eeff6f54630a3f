"""Reads one topic from its end on, without a group, and comes back by itself when Kafka was away. Shell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.kafka import KafkaSettings, connect, require_topic
from riverlens.kafka_refusals import missing_right

logger = logging.getLogger(__name__)

_CONNECT_S = 10.0
_STOP_S = 3.0
_PROBE_EVERY_S = 3.0
_PROBE_WITHIN_S = 4.0
_AWAY_PROBES = 10
"""After so many without an answer the consumer is replaced: it may hold on to brokers that are gone."""
_PAUSE_S = (0.5, 1.0, 2.0, 5.0)
_POLL_MS = 500
_MOST_BEHIND = 2_000
"""Records of a partition that are read late; beyond, the wall goes to the end: it is live, not a record."""

State = Literal["idle", "connecting", "connected", "away"]


@dataclass(slots=True)
class ReaderStatus:
    """How a reader fares; `why` says in words why it is away."""

    state: State = "connecting"
    why: str = ""


class _AgainError(Exception):
    """The consumer must be replaced: partitions came, or the topic was made anew."""


class TopicReader:
    """One topic, from its end on. `take` gets the records in partition order; `began` each new beginning.

    Args:
        setting: what names the topic, for the message where it is missing.
        options: for the consumer, beside those that reach Kafka.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        setting: str,
        options: dict[str, Any],
        *,
        take: Callable[[Sequence[Any]], None],
        began: Callable[[], None],
    ) -> None:
        self.status = ReaderStatus()
        self._kafka = kafka
        self._topic = topic
        self._setting = setting
        self._options = options
        self._take = take
        self._began = began

    async def run(self) -> None:
        """Read until cancelled."""
        failures = 0
        while True:
            try:
                await self._read()
            except _AgainError:
                failures = 0
            except (RiverlensError, KafkaError, OSError) as error:
                self._away(self._reason(error))
                await asyncio.sleep(_PAUSE_S[min(failures, len(_PAUSE_S) - 1)])
                failures += 1
            else:
                failures = 0

    def _away(self, why: str) -> None:
        if self.status.why != why:
            logger.warning("%s: %s", self._topic, why)
        self.status.state, self.status.why = "away", why

    def _connected(self) -> None:
        if self.status.state == "away":
            logger.info("%s: Kafka answers again", self._topic)
        self.status.state, self.status.why = "connected", ""

    async def _read(self) -> None:
        """One consumer's life."""
        consumer = AIOKafkaConsumer(
            **{**self._kafka.client_options(), **self._options},
            enable_auto_commit=False,
            auto_offset_reset="latest",
        )
        try:
            await self._start(consumer)
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            async with asyncio.timeout(_CONNECT_S):
                await consumer.seek_to_end(*partitions)
            self._began()
            self._connected()
            await self._until_again(consumer, partitions)
        except TimeoutError:
            raise self._no_answer() from None
        finally:
            with suppress(TimeoutError, KafkaError, OSError):  # Kafka may be gone: nothing is lost by leaving
                async with asyncio.timeout(_STOP_S):
                    await consumer.stop()

    async def _start(self, consumer: AIOKafkaConsumer) -> None:
        """Connect. A start that is cancelled half-way leaves its connection open: it is let finish first."""
        starting = asyncio.create_task(connect(self._kafka, consumer.start(), timeout_s=_CONNECT_S))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait({starting}, timeout=_STOP_S)
            starting.cancel()
            raise

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        # The public look-ups know subscribed topics only, or create missing ones.
        client = consumer._client  # noqa: SLF001  # see above
        await require_topic(client, self._kafka, self._topic, self._setting)
        metadata = await client.fetch_all_metadata()
        numbers = metadata.partitions_for_topic(self._topic)
        if not numbers:
            raise UnreachableError(f"Kafka does not tell the partitions of {self._topic} yet")
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    async def _until_again(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        probing = asyncio.create_task(self._probe(consumer, partitions))
        try:
            while not probing.done():
                polled = await consumer.getmany(timeout_ms=_POLL_MS)
                for records in polled.values():
                    self._take(records)
            await probing
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def _probe(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Ask Kafka now and then: a consumer whose brokers are gone says nothing of it."""
        unanswered = 0
        while unanswered < _AWAY_PROBES:
            await asyncio.sleep(_PROBE_EVERY_S)
            try:
                async with asyncio.timeout(_PROBE_WITHIN_S):
                    await self._look(consumer, partitions)
            except (TimeoutError, KafkaError, OSError):
                unanswered += 1
                self._away(str(self._no_answer()))
            else:
                unanswered = 0
                self._connected()
        raise self._no_answer()

    async def _look(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Raises _AgainError where this consumer's partitions are no longer the topic's."""
        for partition, end in (await consumer.end_offsets(partitions)).items():
            position = await consumer.position(partition)
            if end < position:
                raise _AgainError
            if end - position > _MOST_BEHIND:
                await consumer.seek_to_end(partition)
                self._began()
        if await self._partitions(consumer) != partitions:
            raise _AgainError

    def _reason(self, error: Exception) -> str:
        right = missing_right(error, self._kafka.sasl_username) if isinstance(error, KafkaError) else None
        if right is not None:
            return f"Kafka at {self._kafka.bootstrap_servers} {right}"
        return str(error) or type(error).__name__

    def _no_answer(self) -> UnreachableError:
        return UnreachableError(f"Kafka at {self._kafka.bootstrap_servers} does not answer")
