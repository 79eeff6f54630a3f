"""The Kafka client under a FrameProducer: how it is made."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer

from riverlens.kafka import KafkaSettings, connect, require_topic
from riverlens.kafka_producer import end_client

_BATCH_BYTES = 1024 * 1024
_RECORD_OVERHEAD_BYTES = 64 * 1024  # key and headers beside the image


async def open_client(
    kafka: KafkaSettings, topic: str, *, max_frame_bytes: int, one_by_one: bool, timeout_s: float = 15.0
) -> AIOKafkaProducer:
    """A started client with every promise on: acks=all, idempotent, batches of 1 MiB, no compression.

    `one_by_one` puts each frame in a batch of its own, so that a rejection names one frame.

    Raises:
        UnreachableError: no broker answers, it refuses us, or it has no such topic.
    """
    client = AIOKafkaProducer(
        **kafka.client_options(),
        acks="all",
        enable_idempotence=True,
        max_request_size=max_frame_bytes + _RECORD_OVERHEAD_BYTES,
        max_batch_size=1 if one_by_one else _BATCH_BYTES,
        linger_ms=0 if one_by_one else 5,
    )
    try:
        await connect(kafka, client.start(), timeout_s=timeout_s)
        await connect(kafka, require_topic(client.client, kafka, topic, "frames_topic"), timeout_s=timeout_s)
    except BaseException:
        await end_client(client, grace_s=0)
        raise
    return client
