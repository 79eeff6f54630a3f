"""What the ways to deliver share: topics, producers, and what is said when Kafka forbids writing."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import ProducerClosed

from riverlens.kafka import connect, require_topic
from riverlens.kafka_refusals import missing_right
from riverlens_worker.settings import WorkerSettings

MAX_BATCH_BYTES = 1024 * 1024
"""Of one partition's records in one request."""
_OVERHEAD_BYTES = 1024 * 1024


async def see_topics(settings: WorkerSettings) -> None:
    """See that all three topics are there.

    Raises:
        UnreachableError: Kafka does not answer or refuses us; a topic is missing, or not to be seen by us.
    """
    client = AIOKafkaClient(**settings.kafka.client_options())
    try:
        await connect(settings.kafka, client.bootstrap())
        for name in ("frames_topic", "events_topic", "dlq_topic"):
            looking = require_topic(client, settings.kafka, getattr(settings, name), name)
            await connect(settings.kafka, looking)
    finally:
        await client.close()


def producer_options(settings: WorkerSettings) -> dict[str, Any]:
    """Keyword arguments for any producer of the worker: every acknowledgement, idempotent, large records."""
    return {
        **settings.kafka.client_options(),
        "acks": "all",
        "enable_idempotence": True,
        "max_batch_size": MAX_BATCH_BYTES,
        "max_request_size": settings.max_frame_bytes + _OVERHEAD_BYTES,
    }


def queue_batch(producer: AIOKafkaProducer, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
    """Queue a batch of the producer's; returns its own future.

    aiokafka's `send_batch` waits where another batch of the partition does, and shields the future: a
    rejection would be heard of a step later, when what follows may be on its way already (see `silence`).

    Raises:
        KafkaError: the producer was silenced, or has ended.
    """
    held = producer._message_accumulator  # noqa: SLF001  # aiokafka has no other way in
    if held._exception is not None or held._closed:  # noqa: SLF001  # as aiokafka asks before it queues
        raise ProducerClosed
    queued = held._append_batch(batch, TopicPartition(topic, partition))  # noqa: SLF001  # the same
    future: asyncio.Future[Any] = queued.future
    return future


def transactional_id(settings: WorkerSettings, partition: int) -> str:
    """One id for each partition of the group's input, whoever holds it: so a new owner fences the old."""
    return f"{settings.group_id}-{settings.frames_topic}-{partition}"


def forbidden(settings: WorkerSettings, error: BaseException | None) -> str:
    """One line for a person, of an error that `judge` calls REFUSED."""
    told = missing_right(error, settings.kafka.sasl_username, "Write") if error else None
    if told is None:
        told = (
            f"does not let us write to {settings.events_topic!r} and {settings.dlq_topic!r} ({error!r}); "
            "see events_topic, dlq_topic"
        )
    return f"Kafka at {settings.kafka.bootstrap_servers} {told}"
