"""Puts frames on topics and reads topics whole."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.record.util import calc_crc32c

from riverlens.kafka import KafkaSettings

MOST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Put:
    """One record to put on a topic, as a plain producer in any language would."""

    value: bytes | None
    key: bytes | None = b"lobby"
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


@asynccontextmanager
async def producer(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer that takes records as large as the broker does."""
    ours = {"acks": "all", "enable_idempotence": True, "max_request_size": MOST_BYTES}
    async with AIOKafkaProducer(**{**kafka.client_options(), **ours, **options}) as running:
        yield running


async def put(kafka: KafkaSettings, topic: str, records: Sequence[Put], **options: Any) -> None:
    """Put records on a topic, in order, and wait until Kafka has them all."""
    async with producer(kafka, **options) as running:
        futures = [
            await running.send(
                topic,
                each.value,
                key=each.key,
                headers=list(each.headers),
                partition=each.partition,
                timestamp_ms=each.timestamp_ms,
            )
            for each in records
        ]
        await asyncio.gather(*futures)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    # White box: the consumer's own look-up knows only topics that it is subscribed to.
    numbers = await consumer._client._wait_on_metadata(topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def read_all(kafka: KafkaSettings, topic: str, *, committed: bool = False) -> list[Any]:
    """Every record on a topic up to its end now, by partition, each partition in order.

    `committed`: as a reader sees it with isolation_level=read_committed.
    """
    async with AIOKafkaConsumer(
        **kafka.client_options(),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=MOST_BYTES,
        isolation_level="read_committed" if committed else "read_uncommitted",
    ) as consumer:
        partitions = await _partitions(consumer, topic)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for found in (await consumer.getmany(timeout_ms=100)).values():
                    records.extend(found)
    return sorted(records, key=lambda record: (record.partition, record.offset))


async def ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """The end offset of each partition."""
    async with watcher(kafka, "") as watch:
        return await watch.ends(topic)


class Watcher:
    """One consumer kept open for questions asked often: ends of topics, offsets of a group."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def count(self, *topics: str) -> int:
        """Records on the topics now (none of them is ever compacted or expired here)."""
        partitions = [tp for topic in topics for tp in await _partitions(self._consumer, topic)]
        return sum((await self._consumer.end_offsets(partitions)).values())

    async def ends(self, topic: str) -> dict[int, int]:
        """The end offset of each partition."""
        found = await self._consumer.end_offsets(await _partitions(self._consumer, topic))
        return {tp.partition: offset for tp, offset in found.items()}

    async def committed(self, topic: str) -> dict[int, int]:
        """What the group has committed, by partition; 0 where it has committed nothing."""
        partitions = await _partitions(self._consumer, topic)
        return {tp.partition: await self._consumer.committed(tp) or 0 for tp in partitions}


@asynccontextmanager
async def watcher(kafka: KafkaSettings, group: str) -> AsyncIterator[Watcher]:
    """A Watcher of `group` ("" for none) that never joins it."""
    async with AIOKafkaConsumer(
        **kafka.client_options(), group_id=group or None, enable_auto_commit=False
    ) as consumer:
        yield Watcher(consumer)


async def put_unreadable(
    kafka: KafkaSettings, topic: str, partition: int, records: Sequence[Put], bad: int
) -> None:
    """Put one record batch whose record number `bad` has a header name that is not UTF-8.

    Kafka takes it; aiokafka cannot parse it, nor what lies behind it in the batch.
    """
    async with AIOKafkaProducer(**kafka.client_options(), acks="all") as running:
        batch = running.create_batch()
        for number, each in enumerate(records):
            headers = [("mark-me", b"")] if number == bad else list(each.headers)
            assert batch.append(key=each.key, value=each.value, timestamp=None, headers=headers) is not None
        raw = bytearray(batch._build())
        place = raw.index(b"mark-me")
        raw[place : place + 4] = b"\xff\xfe\xfd\xfc"
        # The checksum of a version 2 batch covers all behind itself.
        struct.pack_into(">I", raw, 17, calc_crc32c(bytes(raw[21:])))
        batch._buffer = bytes(raw)
        await (await running.send_batch(batch, topic, partition=partition))


async def put_null(kafka: KafkaSettings, topic: str, partition: int) -> None:
    """Put a record with neither key nor value, which aiokafka's send() refuses and other clients do not."""
    async with AIOKafkaProducer(**kafka.client_options(), acks="all") as running:
        batch = running.create_batch()
        batch.append(key=None, value=None, timestamp=None)
        await (await running.send_batch(batch, topic, partition=partition))
