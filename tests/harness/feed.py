"""Cameras that go on and on: frames onto a topic at a steady rate, until the block ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from riverlens.kafka import KafkaSettings
from tests.harness.images import jpeg
from tests.harness.topics import producer

_TICK_S = 0.05


class Feed:
    """A running feed; `sent` counts the frames that Kafka has acknowledged."""

    def __init__(self, running: AIOKafkaProducer, topic: str, partitions: int, per_s: float) -> None:
        self._producer = running
        self._topic = topic
        self._partitions = partitions
        self._per_tick = max(1, round(per_s * _TICK_S))
        self._ended = asyncio.Event()
        self.sent = 0

    async def run(self) -> None:
        """Send until `end`, however long Kafka takes over it."""
        image, number = jpeg(), 0
        while not self._ended.is_set():
            futures = []
            for _ in range(self._per_tick):
                partition = number % self._partitions
                key, sequence = b"cam-%d" % partition, b"%d" % (number // self._partitions)
                futures.append(
                    await self._producer.send(
                        self._topic, image, key=key, partition=partition, headers=[("sequence", sequence)]
                    )
                )
                number += 1
            await asyncio.gather(*futures)
            self.sent += len(futures)
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._ended.wait()
            except TimeoutError:
                continue

    def end(self) -> None:
        """No more frames after those under way."""
        self._ended.set()


@asynccontextmanager
async def feed(
    kafka: KafkaSettings, topic: str, *, partitions: int = 4, per_s: float = 200
) -> AsyncIterator[Feed]:
    """Feed a topic while the block runs; at its end every frame is acknowledged."""
    # A paused broker must not make the feed itself lose or repeat frames.
    async with producer(kafka, request_timeout_ms=60_000) as running, asyncio.TaskGroup() as group:
        feeding = Feed(running, topic, partitions, per_s)
        group.create_task(feeding.run())
        try:
            yield feeding
        finally:
            feeding.end()
