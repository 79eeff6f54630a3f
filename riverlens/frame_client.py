"""The Kafka client under a FrameProducer: how it is made, ended, and what its errors mean."""

from __future__ import annotations

import asyncio
import enum
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)

from riverlens.errors import UnreachableError
from riverlens.kafka import KafkaSettings, connect

_log = logging.getLogger(__name__)

_BATCH_BYTES = 1024 * 1024
_RECORD_OVERHEAD_BYTES = 64 * 1024  # key and headers beside the image
_CLOSE_S = 5.0
_BACKOFF_S = 0.3  # more than the retry_backoff_ms of a request that has just failed


class Verdict(enum.Enum):
    """What a delivery error says about the frame."""

    REJECTED = "rejected"  # some frame of its batch will never be taken
    REFUSED = "refused"  # no frame of ours will be taken
    AGAIN = "again"  # the client is of no use any more; the frame is fine


_REJECTED = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RecordTooLargeError,
    InvalidTimestampError,
    UnsupportedForMessageFormatError,
)
_REFUSED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, InvalidTopicError)


def judge(error: BaseException | None) -> Verdict:
    """Sort a delivery error. Errors that pass (a leader moves) never get here: the client retries them."""
    if isinstance(error, _REJECTED):
        return Verdict.REJECTED
    return Verdict.REFUSED if isinstance(error, _REFUSED) else Verdict.AGAIN


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
        await connect(kafka, _find_topic(client, kafka, topic), timeout_s=timeout_s)
    except BaseException:
        await end_client(client, grace_s=0)
        raise
    return client


async def _find_topic(client: AIOKafkaProducer, kafka: KafkaSettings, topic: str) -> None:
    # Asking for one topic by name would create it on brokers that create topics; asking for all does not.
    known = await client.client.fetch_all_metadata()
    if topic not in known.topics(exclude_internal_topics=False):
        raise UnreachableError(
            f"Kafka at {kafka.bootstrap_servers} has no topic {topic!r}; create it: riverlens topics "
            f"--bootstrap-servers {kafka.bootstrap_servers}, or see frames_topic"
        )


def silence(client: AIOKafkaProducer) -> None:
    """Let the client begin no further request, from this instant; those under way may end.

    After a rejected batch aiokafka sends the partition's next one, and a broker that does not know the
    client yet takes it: later frames would come before earlier ones. Called from the rejected frame's own
    callback, this is in time.
    """
    sending = _sender_task(client)
    if sending is not None:
        sending.cancel()


async def end_client(client: AIOKafkaProducer, *, grace_s: float) -> None:
    """Stop the client: what it holds may be delivered within `grace_s`; after that it is given up.

    An idempotent client retries for ever, and its own `stop` waits for that. The futures of what is given
    up get the result None.
    """
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait([stopping], timeout=grace_s)
    if not stopping.done():
        await _cut_off(client)
    _settle_the_rest(client)
    await asyncio.wait([stopping], timeout=_CLOSE_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait([stopping])
    if not stopping.cancelled() and isinstance(stopping.exception(), KafkaError):
        _log.debug("the Kafka client ended with %r", stopping.exception())


async def _cut_off(client: AIOKafkaProducer) -> None:
    # aiokafka has no way to abort, and its own fatal-error path fails on clients without transactions. So:
    # no new requests; those under way end with their connections, and then wait for metadata that a closed
    # client never gets.
    silence(client)
    await client.client.close()
    sending = _sender_task(client)
    if sending is None:
        return
    await asyncio.wait([sending], timeout=_BACKOFF_S)
    metadata = client.client._md_update_fut  # noqa: SLF001  # aiokafka resolves it nowhere else
    if metadata is not None and not metadata.done():
        metadata.set_result(False)
    await asyncio.wait([sending], timeout=_CLOSE_S)


def _settle_the_rest(client: AIOKafkaProducer) -> None:
    # As aiokafka does with acks=0; without it a task of `stop` would wait for these batches for ever.
    held = client._message_accumulator  # noqa: SLF001  # aiokafka has no way to give batches up
    queued, under_way = held._batches, held._pending_batches  # noqa: SLF001  # the same
    under_way.update(batch for batches in queued.values() for batch in batches)
    for batch in tuple(under_way):
        batch.done_noack()


def _sender_task(client: AIOKafkaProducer) -> asyncio.Task[None] | None:
    task: asyncio.Task[None] | None = client._sender.sender_task  # noqa: SLF001  # aiokafka has no abort
    return task
