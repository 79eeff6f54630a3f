"""Questions to a cluster of several brokers."""

from __future__ import annotations

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from riverlens.kafka import KafkaSettings
from tests.harness.waiting import wait_for


async def wait_in_sync(kafka: KafkaSettings, *, copies: int = 3, timeout_s: float = 60.0) -> None:
    """Wait until every partition, also of Kafka's own topics, has `copies` in-sync replicas and a leader.

    Before that, the loss of a second broker makes partitions fall below min.insync.replicas, and new topics
    get fewer copies.
    """
    client = AIOKafkaClient(**kafka.client_options())

    async def whole() -> bool:
        try:
            answer = await client.send(client.get_random_node(), MetadataRequest(None))
        except KafkaError:  # a broker that has just gone
            await client.force_metadata_update()
            return False
        return len(answer.brokers) >= copies and all(
            leader >= 0 and len(in_sync) >= copies
            for topic in answer.topics
            for _, _, leader, _, in_sync, *_ in topic[-1]
        )

    try:
        await client.bootstrap()
        await wait_for(whole, what=f"{copies} copies of each partition are in sync", timeout_s=timeout_s)
    finally:
        await client.close()


async def leader_of(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """The node that leads this partition now."""
    client = AIOKafkaClient(**kafka.client_options())
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), MetadataRequest([topic]))
        leaders = {number: int(leader) for _, number, leader, *_ in answer.topics[0][-1]}
        return leaders[partition]
    finally:
        await client.close()
