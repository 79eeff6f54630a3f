"""A consumer of events that times how long it was kept waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from riverlens.kafka import KafkaSettings


class Reader:
    """What a reader saw.

    Attributes:
        seen: events read.
        longest_s: the longest time without any event.
        partition_longest_s: the longest time without an event of one partition, by partition.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.longest_s = 0.0
        self.partition_longest_s: dict[int, float] = {}
        self._last_s: float | None = None
        self._partition_last_s: dict[int, float] = {}

    def take(self, partition: int, count: int) -> None:
        """Events came from a partition now."""
        now_s = time.monotonic()
        self.longest_s = max(self.longest_s, now_s - (self._last_s or now_s))
        waited_s = now_s - self._partition_last_s.get(partition, now_s)
        self.partition_longest_s[partition] = max(self.partition_longest_s.get(partition, 0.0), waited_s)
        self._last_s = self._partition_last_s[partition] = now_s
        self.seen += count


@asynccontextmanager
async def reader(kafka: KafkaSettings, topic: str, *, committed: bool = False) -> AsyncIterator[Reader]:
    """Read a topic while the block runs; `committed`: with isolation_level=read_committed."""
    found = Reader()
    async with AIOKafkaConsumer(
        topic,
        **kafka.client_options(),
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
    ) as consumer:

        async def read() -> None:
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    found.take(tp.partition, len(records))

        task = asyncio.create_task(read())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
