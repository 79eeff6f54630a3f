"""Reads what a stack has published. Shell."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.observed import Seen
from riverlens.kafka import KafkaSettings

_POLL_MS = 500


class EventReader:
    """One events topic: how many there are, and in the end all of them."""

    def __init__(self, kafka: KafkaSettings, topic: str, partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(
            **kafka.client_options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self._parts = [TopicPartition(topic, number) for number in range(partitions)]

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._parts)
        # Nothing is fetched while the stack is measured.
        self._consumer.pause(*self._parts)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def count(self) -> int:
        """Records so far; with transactions their markers count too."""
        return sum((await self._consumer.end_offsets(self._parts)).values())

    async def read(self) -> Seen:
        """All events until now."""
        ends = await self._consumer.end_offsets(self._parts)
        await self._consumer.seek_to_beginning(*self._parts)
        self._consumer.resume(*self._parts)
        rows: list[tuple[int, int, float]] = []
        last: dict[tuple[int, int], int] = {}
        disorder = 0
        while any([await self._consumer.position(part) < end for part, end in ends.items()]):
            polled: dict[Any, Any] = await self._consumer.getmany(timeout_ms=_POLL_MS)
            for record in (record for records in polled.values() for record in records):
                source = orjson.loads(record.value)["source"]
                partition, offset = source["partition"], source["offset"]
                # Between partitions of the events topic there is no order.
                stream = (record.partition, partition)
                disorder += offset < last.get(stream, -1)
                last[stream] = max(offset, last.get(stream, -1))
                rows.append((partition, offset, record.timestamp / 1000))
        rows.sort(key=lambda row: row[2])
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return Seen(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], int(disorder))
