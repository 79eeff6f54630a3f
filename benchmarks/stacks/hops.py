"""No worker at all: every frame that is read becomes an event at once, without a model. What the hops cost.

Frame to Kafka, Kafka to a reader, event to Kafka: no stack on this machine is quicker, whatever it does in
between. An event has the size that the detector's have.
"""

from __future__ import annotations

import asyncio

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from benchmarks.stacks.arguments import Arguments, read_arguments
from benchmarks.stacks.process import run_until_stopped, say_ready

_POLL_MS = 200
_DETECTIONS = [{"class": 1, "score": 0.5, "box": [0.2, 0.3, 0.6, 0.7]}] * 4


def _event(record: ConsumerRecord) -> bytes:
    source = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    body = {"camera": (record.key or b"").decode(), "source": source, "detections": _DETECTIONS}
    return orjson.dumps(body)


async def _main(arguments: Arguments) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=arguments.bootstrap,
        group_id=arguments.group,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    producer = AIOKafkaProducer(bootstrap_servers=arguments.bootstrap, acks="all")
    sent: set[asyncio.Future[object]] = set()
    async with consumer, producer:
        await say_ready(consumer, arguments.frames_topic)
        while True:
            polled = await consumer.getmany(timeout_ms=_POLL_MS)
            for record in (record for records in polled.values() for record in records):
                future = await producer.send(arguments.events_topic, _event(record), key=record.key)
                sent.add(future)
                future.add_done_callback(sent.discard)


if __name__ == "__main__":
    run_until_stopped(_main(read_arguments()))
