"""What the ways to deliver share: topics, producers, and what is said when Kafka forbids writing."""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import TransactionalIdAuthorizationFailed

from riverlens.kafka import KafkaSettings, connect
from riverlens_worker.settings import WorkerSettings

_OVERHEAD_BYTES = 1024 * 1024


async def topics_of(kafka: KafkaSettings) -> set[str]:
    """The names of all topics this user may see.

    Raises:
        UnreachableError: Kafka does not answer, or refuses us.
    """
    client = AIOKafkaClient(**kafka.client_options())
    try:
        await connect(kafka, client.bootstrap())
        # Asking for one topic by name would create it on brokers that create topics; asking for all does not.
        found: set[str] = (await client.fetch_all_metadata()).topics()
    finally:
        await client.close()
    return found


def producer_options(settings: WorkerSettings) -> dict[str, Any]:
    """Keyword arguments for any producer of the worker: every acknowledgement, idempotent, large records."""
    return {
        **settings.kafka.client_options(),
        "acks": "all",
        "enable_idempotence": True,
        "max_batch_size": 1024 * 1024,
        "max_request_size": settings.max_frame_bytes + _OVERHEAD_BYTES,
    }


def transactional_id(settings: WorkerSettings, partition: int) -> str:
    """One id for each partition of the group's input, whoever holds it: so a new owner fences the old."""
    return f"{settings.group_id}-{settings.frames_topic}-{partition}"


def forbidden(settings: WorkerSettings, error: BaseException | None) -> str:
    """One line for a person, of an error that `judge` calls REFUSED."""
    if isinstance(error, TransactionalIdAuthorizationFailed):
        prefix = f"{settings.group_id}-{settings.frames_topic}-"
        return (
            "Kafka does not let us use transactions (delivery = exactly-once): this user needs Write and "
            f"Describe on TransactionalId with the prefix {prefix!r}"
        )
    return (
        f"Kafka does not let us write to {settings.events_topic!r} and {settings.dlq_topic!r} ({error!r}); "
        "see events_topic, dlq_topic and this user's rights"
    )
