"""A Kafka producer's errors and its end, for everybody who replaces one that is ruined.

aiokafka 0.14: after any rejected record an idempotent or transactional producer fails every later one with
OutOfOrderSequenceNumber, and a batch that expired leaves a hole in the sequence likewise. So it is silenced
from the failed delivery's own callback, ended, and a new one sends again what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedForMessageFormatError,
)

_log = logging.getLogger(__name__)

_CLOSE_S = 5.0
_BACKOFF_S = 0.3  # more than the retry_backoff_ms of a request that has just failed

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)
"""Kafka or the client takes no record of this size."""


class Verdict(enum.Enum):
    """What a delivery error says about the record."""

    REJECTED = "rejected"  # some record of its batch will never be taken
    REFUSED = "refused"  # no record of ours will be taken
    AGAIN = "again"  # the client is of no use any more; the record is fine


_REJECTED = (*TOO_LARGE, InvalidTimestampError, UnsupportedForMessageFormatError)
_REFUSED = (
    TopicAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    InvalidTopicError,
)


def judge(error: BaseException | None) -> Verdict:
    """Sort a delivery error. Errors that pass (a leader moves) never get here: the client retries them."""
    if isinstance(error, _REJECTED):
        return Verdict.REJECTED
    return Verdict.REFUSED if isinstance(error, _REFUSED) else Verdict.AGAIN


def silence(client: AIOKafkaProducer) -> None:
    """Let the client begin no further request, from this instant; those under way may end.

    After a rejected batch aiokafka sends the partition's next one, and a broker that does not know the
    client yet takes it: later records would come before earlier ones. Called from the rejected record's own
    callback, this is in time. What is queued fails with ProducerClosed at once: who waits for room in a full
    batch would else wait for as long as a request may take.
    """
    # A request that aiokafka has made up, but not begun, is a task that nobody outside can cancel.
    client.client.send = _begin_nothing
    sending = _sender_task(client)
    if sending is not None:
        sending.cancel()
    held = client._message_accumulator  # noqa: SLF001  # aiokafka has no way to give batches up
    held._exception = held._exception or ProducerClosed()  # noqa: SLF001  # the same
    for batches in held._batches.values():  # noqa: SLF001  # the same
        for batch in batches:
            batch.failure(ProducerClosed())


async def end_client(client: AIOKafkaProducer, *, grace_s: float) -> None:
    """Stop the client: what it holds may be delivered within `grace_s`; after that it is given up.

    An idempotent client retries for ever, and its own `stop` waits for that. The futures of what is given
    up get the result None.
    """
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait([stopping], timeout=grace_s)
    sending = _sender_task(client)
    # `stop` does nothing the second time, though the first may have been cancelled half-way.
    if not stopping.done() or (sending is not None and not sending.done()):
        await _cut_off(client)
    _settle_the_rest(client)
    await asyncio.wait([stopping], timeout=_CLOSE_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait([stopping])
    if not stopping.cancelled() and isinstance(stopping.exception(), KafkaError):
        _log.debug("the Kafka client ended with %r", stopping.exception())
    transactions = client._txn_manager  # noqa: SLF001  # what it failed with lies nowhere else, and must be read
    ended = None if transactions is None else transactions._transaction_waiter  # noqa: SLF001  # the same
    if ended is not None and ended.done() and not ended.cancelled():
        ended.exception()


def log_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Log errors that a given-up client leaves in its own futures and tasks in one line, at debug level.

    Nobody can retrieve them: a client that is cut off drops what it was waiting for, and asyncio would print
    a traceback for each. Every other error goes to the loop's own handler.
    """

    def handle(running: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "never retrieved" in context.get("message", "") and _is_aiokafkas(error):
            _log.debug("a Kafka client that was given up left behind: %r", error)
        else:
            running.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _is_aiokafkas(error: BaseException | None) -> bool:
    if isinstance(error, KafkaError):
        return True
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("aiokafka.")


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


async def _begin_nothing(*_request: Any, **_options: Any) -> None:
    raise ProducerClosed


def _settle_the_rest(client: AIOKafkaProducer) -> None:
    # As aiokafka does with acks=0; without it a task of `stop` would wait for these batches for ever.
    held = client._message_accumulator  # noqa: SLF001  # aiokafka has no way to give batches up
    queued = [batch for batches in held._batches.values() for batch in batches]  # noqa: SLF001  # the same
    held._pending_batches.update(queued)  # noqa: SLF001  # the same
    for batch in tuple(held._pending_batches):  # noqa: SLF001  # the same
        batch.done_noack()
    for batch in queued:
        # Failed batches tell this one too, and asyncio logs an error that nobody asked for.
        if batch._drain_waiter.done():  # noqa: SLF001  # the same
            batch._drain_waiter.exception()  # noqa: SLF001  # the same


def _sender_task(client: AIOKafkaProducer) -> asyncio.Task[None] | None:
    task: asyncio.Task[None] | None = client._sender.sender_task  # noqa: SLF001  # aiokafka has no abort
    return task
