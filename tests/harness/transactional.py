"""A Kafka of one partition, made here: what its producers' transactions left for readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation


@dataclass
class Log:
    """What reached readers, in order, and the group's committed offset.

    Attributes:
        published: (topic, value) of each record.
        refuses: the error that a record of this topic and value is refused with, or None.
        made, ended: producers.
    """

    published: list[tuple[str, bytes]] = field(default_factory=list)
    committed: int | None = None
    refuses: Callable[[str, bytes], BaseException | None] = lambda _topic, _value: None
    made: int = 0
    ended: list[Producer] = field(default_factory=list)

    async def end(self, producer: Producer, *, grace_s: float) -> None:  # noqa: ARG002  # as `end_client` has it
        """In place of `end_client`."""
        if producer not in self.ended:
            self.ended.append(producer)


@dataclass
class Batch:
    """Records to be sent together, as aiokafka's builder takes them."""

    values: list[bytes] = field(default_factory=list)

    def append(self, *, value: bytes, **__: Any) -> object:
        """There is always room."""
        self.values.append(value)
        return self


class Producer:
    """A producer of a `Log`. Records without a transaction are there at once.

    Args:
        log: where to.
        fails: raised by the commit.
        fails_late: the commit has had its effect by then.
        fails_send: each send but the first one of a transaction raises IllegalOperation.
    """

    def __init__(
        self,
        log: Log,
        fails: BaseException | None = None,
        *,
        fails_late: bool = False,
        fails_send: bool = False,
    ) -> None:
        self._log, self._fails, self._fails_late, self._fails_send = log, fails, fails_late, fails_send
        self._open: list[tuple[str, bytes]] | None = None
        self._offset = 0
        self._txn_manager = SimpleNamespace(_transaction_waiter=None)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def begin_transaction(self) -> None:
        """Nothing is sent yet."""
        self._open = []

    async def partitions_for(self, _: str) -> set[int]:
        """One partition each."""
        return {0}

    async def send(self, topic: str, value: bytes, **__: Any) -> asyncio.Future[object]:
        """Acknowledged or refused at once."""
        if self._fails_send and self._open:
            raise IllegalOperation
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        error = self._log.refuses(topic, value)
        if error is not None:
            done.set_exception(error)
            return done
        (self._log.published if self._open is None else self._open).append((topic, value))
        done.set_result(object())
        return done

    def create_batch(self) -> Batch:
        """Of records that are acknowledged or refused together."""
        return Batch()

    @property
    def _message_accumulator(self) -> SimpleNamespace:
        """Where aiokafka queues batches."""
        return SimpleNamespace(_exception=None, _closed=False, _append_batch=self._append_batch)

    def _append_batch(self, batch: Batch, place: TopicPartition) -> SimpleNamespace:
        """Acknowledged at once, or refused for one of its records."""
        topic: str = place.topic
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        errors = [error for value in batch.values if (error := self._log.refuses(topic, value)) is not None]
        if errors:
            done.set_exception(errors[0])
        else:
            self._log.published += [(topic, value) for value in batch.values]
            done.set_result(object())
        return SimpleNamespace(future=done)

    async def send_offsets_to_transaction(self, offsets: dict[Any, Any], _: str) -> None:
        """Of the one partition."""
        (self._offset,) = (each.offset for each in offsets.values())

    async def commit_transaction(self) -> None:
        """All or nothing."""
        if self._fails is None or self._fails_late:
            self._log.published += self._open or []
            self._log.committed = self._offset
        if self._fails is not None:
            raise self._fails
