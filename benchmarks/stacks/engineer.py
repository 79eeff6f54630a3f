"""What a good engineer writes in a day: aiokafka, batches of 32, a thread pool, two calls in flight.

Batches are what `getmany` gives; offsets are committed after the events are acknowledged, in order. No dead
letters, no metrics, no order across a failure, no rebalance handling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from benchmarks.scenario import MAX_ROWS
from benchmarks.stacks.arguments import Arguments, read_arguments
from benchmarks.stacks.detector import (
    decode,
    events,
    jpeg_request,
    open_channel,
    pixel_request,
    predict_method,
)
from benchmarks.stacks.process import run_until_stopped, say_ready

_CALLS = 2
_UNPUBLISHED = 6
"""Batches that are answered or asked and not committed: where Kafka is slower than the device, polls wait."""
_DECODERS = 2
_POLL_MS = 200


class Worker:
    """One process of it."""

    def __init__(self, arguments: Arguments, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        self._arguments = arguments
        self._consumer = consumer
        self._producer = producer
        self._pool = ThreadPoolExecutor(_DECODERS)
        self._calls = asyncio.Semaphore(_CALLS * len(arguments.servers))
        self._unpublished = asyncio.Semaphore(_UNPUBLISHED * len(arguments.servers))
        self._predict: Any = None

    async def run(self) -> None:
        """Poll, hand out, for ever."""
        previous: asyncio.Task[None] | None = None
        async with open_channel(self._arguments) as channel, asyncio.TaskGroup() as group:
            self._predict = predict_method(channel)
            while True:
                await self._unpublished.acquire()
                await self._calls.acquire()
                polled = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=MAX_ROWS)
                records = [record for batch in polled.values() for record in batch]
                if records:
                    previous = group.create_task(self._batch(records, previous))
                else:
                    self._calls.release()
                    self._unpublished.release()

    async def _batch(self, records: Sequence[ConsumerRecord], previous: asyncio.Task[None] | None) -> None:
        try:
            reply = await self._predict(await self._request(records))
        finally:
            self._calls.release()
        if previous is not None:
            await previous
        await self._publish(records, events(reply, records))
        ends = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
        await self._consumer.commit(ends)
        self._unpublished.release()

    async def _request(self, records: Sequence[ConsumerRecord]) -> Any:
        images = [record.value or b"" for record in records]
        if self._arguments.mode == "jpeg":
            return jpeg_request(self._arguments.model, images)
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(*(loop.run_in_executor(self._pool, decode, image) for image in images))
        return pixel_request(self._arguments.model, decoded)

    async def _publish(self, records: Sequence[ConsumerRecord], values: Sequence[bytes]) -> None:
        topic = self._arguments.events_topic
        sent = [
            await self._producer.send(topic, value, key=record.key)
            for record, value in zip(records, values, strict=True)
        ]
        await asyncio.gather(*sent)


async def _main(arguments: Arguments) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=arguments.bootstrap,
        group_id=arguments.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    producer = AIOKafkaProducer(bootstrap_servers=arguments.bootstrap, acks="all")
    async with consumer, producer:
        await say_ready(consumer, arguments.frames_topic)
        await Worker(arguments, consumer, producer).run()


if __name__ == "__main__":
    run_until_stopped(_main(read_arguments()))
