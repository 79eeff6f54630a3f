"""One frame by its place, read back from Kafka at full size. Shell."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.frame import Frame, read_frame
from riverlens.kafka import KafkaSettings, connect
from riverlens_wall.waiting import Place

_AT_ONCE = 2
_WITHIN_S = 10.0
_STOP_S = 3.0


class GoneError(RiverlensError):
    """Kafka has no such frame, or not any more."""


class WholeFrames:
    """Fetches single frames; at most two at a time."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, place: Place) -> Frame:
        """The frame at this place.

        Raises:
            GoneError: there is none, or retention removed it.
            UnreachableError: Kafka does not answer.
        """
        async with self._turns:
            consumer = AIOKafkaConsumer(**self._kafka.client_options(), enable_auto_commit=False)
            try:
                async with asyncio.timeout(_WITHIN_S):
                    await connect(self._kafka, consumer.start(), timeout_s=_WITHIN_S)
                    return read_frame(await self._record(consumer, place))
            except (TimeoutError, KafkaError, OSError) as error:
                why = str(error) or "no answer in time"
                raise UnreachableError(f"the frame could not be read from Kafka: {why}") from None
            finally:
                # Kafka may be gone: the turn is given back nevertheless.
                with suppress(TimeoutError, KafkaError, OSError):
                    async with asyncio.timeout(_STOP_S):
                        await consumer.stop()

    async def _record(self, consumer: AIOKafkaConsumer, place: Place) -> Any:
        partition = TopicPartition(self._topic, place.partition)
        client = consumer._client  # noqa: SLF001  # the public look-up knows subscribed topics only
        numbers = (await client.fetch_all_metadata()).partitions_for_topic(self._topic) or set()
        if place.partition not in numbers:
            raise GoneError(f"{self._topic} has no partition {place.partition}")
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        if place.offset < first:
            raise GoneError("this frame is not on Kafka any more: the topic's retention removed it")
        if place.offset >= end:
            raise GoneError("there is no such frame yet")
        consumer.seek(partition, place.offset)
        record = await consumer.getone(partition)
        if record.offset != place.offset:
            raise GoneError("there is no such frame")
        return record
