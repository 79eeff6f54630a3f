"""A silenced producer against a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer

from riverlens.kafka import KafkaSettings
from riverlens.kafka_producer import end_client, silence
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from tests.conftest import TopicSet
from tests.harness.topics import ends


async def test_nothing_follows_a_rejected_batch_even_if_its_request_was_already_made_up(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """The next batch of a rejected one's partition never reaches Kafka, in the one order that is closest.

    aiokafka may make up the next request in the same turn of the event loop in which it reads the rejection,
    before anybody's callback; here it always does.
    """
    topic = f"{topic_set.events}-small"
    await ensure_topics(kafka, [TopicSpec(topic, 1, {"max.message.bytes": "65536"})])
    client: Any = AIOKafkaProducer(**kafka.client_options(), acks="all", enable_idempotence=True)
    await client.start()
    sender, later = client._sender, asyncio.Event()
    requests: list[asyncio.Task[None]] = []
    begin = sender._send_produce_req

    async def and_the_next(node: int, batches: Any) -> None:
        queued = await client.send(topic, b"later", partition=0)
        queued.add_done_callback(lambda done: done.exception())
        await begin(node, batches)
        made_up, _ = sender._message_accumulator.drain_by_nodes(ignore_nodes=set(), muted_partitions=set())
        sender._in_flight.update(made_up)
        sender._muted_partitions.update(place for batches in made_up.values() for place in batches)
        requests.extend(asyncio.create_task(begin(*each)) for each in made_up.items())
        later.set()

    sender._send_produce_req = and_the_next
    guilty = await client.send(topic, b"x" * 70_000, partition=0)
    guilty.add_done_callback(lambda done: silence(client) if done.exception() else None)
    await later.wait()
    assert len(requests) == 1, "the second request was not made up in time"
    await asyncio.wait(requests)
    await end_client(client, grace_s=1.0)
    assert await ends(kafka, topic) == {0: 0}
