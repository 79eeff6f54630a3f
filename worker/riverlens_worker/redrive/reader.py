"""Reads the dead letters, partition by partition; holds the group that remembers. Shell.

Who puts letters back is the one member of that group and holds all partitions; whoever comes second does
not get them all and ends. A dry run reads without joining.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import aiokafka.errors
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, IllegalStateError, KafkaError
from aiokafka.protocol.commit import OffsetFetchRequest

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.kafka import connect, refused, require_topic
from riverlens_worker.redrive.memory import ForeignMemoryError, Memory
from riverlens_worker.redrive.settings import RedriveSettings

logger = logging.getLogger(__name__)

_CLAIM_S = 60.0
_SILENT_S = 30.0
_POLL_MS = 500
_POLL_RECORDS = 100
_AGAIN_S = 0.1
_NEVER_MS = 24 * 3600 * 1000


class _Claim(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Tells what this member holds. A rebalance waits until what is being put back is remembered."""

    def __init__(self) -> None:
        self.busy = asyncio.Lock()
        self.told = asyncio.Event()
        self.held: frozenset[TopicPartition] = frozenset()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The group gave us these."""
        self.held = frozenset(assigned)
        self.told.set()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group takes these back; it waits for us."""
        async with self.busy:
            self.held -= frozenset(revoked)


class Reader:
    """The dead letter topic and its memory. `start`, read, `remember`, `close`."""

    def __init__(self, settings: RedriveSettings) -> None:
        self._settings = settings
        self._claim = _Claim()
        joined = {} if settings.dry_run else {"group_id": settings.memory_group}
        self._consumer: Any = AIOKafkaConsumer(
            **settings.kafka.client_options(),
            **joined,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What a worker's aborted transactions left behind was never set aside.
            isolation_level="read_committed",
            max_poll_interval_ms=_NEVER_MS,
        )
        self._partitions: list[TopicPartition] = []
        self._memories: dict[TopicPartition, Memory] = {}

    async def start(self) -> None:
        """Connect, claim the topic (but for a dry run), read what was put back before.

        Raises:
            UnreachableError: Kafka does not answer or refuses us.
            RiverlensError: another redrive of this group is at work.
        """
        settings, consumer = self._settings, self._consumer
        if not settings.dry_run:
            consumer.subscribe([settings.dlq_topic], listener=self._claim)
        await connect(settings.kafka, consumer.start())
        client = consumer._client  # noqa: SLF001  # no public way to ask for a topic without making it
        await connect(settings.kafka, require_topic(client, settings.kafka, settings.dlq_topic, "dlq_topic"))
        numbers = await connect(settings.kafka, client._wait_on_metadata(settings.dlq_topic))  # noqa: SLF001  # ditto
        self._partitions = [TopicPartition(settings.dlq_topic, number) for number in sorted(numbers)]
        if settings.dry_run:
            consumer.assign(self._partitions)
        else:
            await self._hold_all()
        consumer.pause(*self._partitions)
        self._memories = await connect(settings.kafka, self._remembered(), timeout_s=_SILENT_S)

    async def close(self) -> None:
        """Leave the group and disconnect."""
        try:
            async with asyncio.timeout(5):
                await self._consumer.stop()
        except TimeoutError:
            logger.debug("leaving the group took too long; its session will run out")

    @property
    def busy(self) -> asyncio.Lock:
        """Held while letters are put back and not yet remembered."""
        return self._claim.busy

    def memory(self, partition: int) -> Memory:
        """What was put back of a partition."""
        return self._memories[TopicPartition(self._settings.dlq_topic, partition)]

    def partitions(self) -> list[int]:
        """Partitions of the topic."""
        return [tp.partition for tp in self._partitions]

    async def records(self, partition: int) -> AsyncIterator[list[Any]]:
        """The partition's records in chunks, up to what is its end now; from the first one not put back.

        Raises:
            UnreachableError: Kafka gives nothing any more.
            RiverlensError: a record cannot be read.
        """
        kafka, consumer = self._settings.kafka, self._consumer
        tp = TopicPartition(self._settings.dlq_topic, partition)
        begin = (await connect(kafka, consumer.beginning_offsets([tp])))[tp]
        end = (await connect(kafka, consumer.end_offsets([tp])))[tp]
        memory = self._memories[tp]
        if memory.low > end:
            logger.warning("partition %d is shorter than it was: the topic was made anew", partition)
            memory = self._memories[tp] = Memory()
        memory.forget_below(begin)
        start = begin if self._settings.again else max(begin, memory.low)
        consumer.seek(tp, start)
        consumer.resume(tp)
        try:
            async for chunk in self._chunks(tp, end):
                yield chunk
        finally:
            # Not where the group has taken it from us meanwhile.
            if tp in consumer.assignment():
                consumer.pause(tp)

    async def _chunks(self, tp: TopicPartition, end: int) -> AsyncIterator[list[Any]]:
        consumer, loop = self._consumer, asyncio.get_running_loop()
        moved_s, place = loop.time(), -1
        while True:
            self.see_claim()
            at = await connect(self._settings.kafka, consumer.position(tp))
            if at >= end:
                return
            if at != place:
                moved_s, place = loop.time(), at
            elif loop.time() - moved_s > _SILENT_S:
                where = self._settings.kafka.bootstrap_servers
                raise UnreachableError(
                    f"Kafka at {where} gave nothing of {tp.topic!r}, partition {tp.partition}, offset {at}, "
                    f"for {_SILENT_S:.0f} s; see kafka.bootstrap_servers"
                )
            try:
                polled = await consumer.getmany(tp, timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
            except KafkaError as error:
                raise refused(self._settings.kafka, error, "Read") from None
            except (ValueError, AssertionError, IndexError) as error:
                raise RiverlensError(
                    f"topic {tp.topic!r} holds a record that cannot be read, in partition {tp.partition} "
                    f"from offset {at} on ({error!r}); leave that partition out: --partition"
                ) from None
            chunk = [record for record in polled.get(tp, []) if record.offset < end]
            if chunk:
                yield chunk

    def see_claim(self) -> None:
        """See that we still hold all partitions.

        Raises:
            RiverlensError: another redrive has begun.
        """
        if not self._settings.dry_run and self._claim.held != frozenset(self._partitions):
            raise self._contested()

    async def remember(self) -> None:
        """Commit what was put back, of all partitions: so it is kept as long as letters are.

        Raises:
            RiverlensError: another redrive has begun, or Kafka does not take it.
        """
        offsets: dict[TopicPartition, tuple[int, str]] = {}
        for tp, memory in self._memories.items():
            low = memory.low
            offsets[tp] = memory.saved()
            if memory.low > low:
                logger.warning(
                    "partition %d: what was put back is too scattered to be remembered; all dead letters "
                    "below offset %d count as put back from now on (--again finds them)",
                    tp.partition,
                    memory.low,
                )
        try:
            await connect(self._settings.kafka, self._commit(offsets))
        except UnreachableError as error:
            raise UnreachableError(f"{error}; what was put back last is not remembered") from None

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            raise self._contested() from None

    async def _hold_all(self) -> None:
        try:
            async with asyncio.timeout(_CLAIM_S):
                await self._claim.told.wait()
        except TimeoutError:
            group, where = self._settings.memory_group, self._settings.kafka.bootstrap_servers
            raise UnreachableError(
                f"Kafka at {where} did not let us into the consumer group {group!r} within {_CLAIM_S:.0f} s; "
                f"where it has ACLs: kafka-acls --add --operation Read --group {group}"
            ) from None
        self.see_claim()

    def _contested(self) -> RiverlensError:
        return RiverlensError(
            f"another redrive of the group {self._settings.memory_group!r} is at work; let it end, then "
            "start again: what was put back is remembered"
        )

    async def _remembered(self) -> dict[TopicPartition, Memory]:
        """The group's offsets and metadata, asked until its coordinator answers."""
        topic, group = self._settings.dlq_topic, self._settings.memory_group
        request = OffsetFetchRequest(group, [(topic, [tp.partition for tp in self._partitions])])
        admin = AIOKafkaAdminClient(**self._settings.kafka.client_options())
        try:
            await admin.start()
            while True:
                try:
                    return _memories(await _ask(admin, request, group), group)
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    logger.debug("the group does not tell what it remembers yet: %r", error)
                    await asyncio.sleep(_AGAIN_S)
        finally:
            await admin.close()


async def _ask(admin: AIOKafkaAdminClient, request: OffsetFetchRequest, group: str) -> Any:
    """The group's answer. aiokafka's own reading of it overlooks the error that stands for all of it."""
    node = await admin.find_coordinator(group)
    reply = await admin._send_request(request, node)  # noqa: SLF001  # see the docstring
    codes = [reply.error_code, *(code for _, answers in reply.topics for *_, code in answers)]
    for code in filter(None, codes):
        error = aiokafka.errors.for_code(code)
        raise error(group) if error is GroupAuthorizationFailedError else error()
    return reply


def _memories(reply: Any, group: str) -> dict[TopicPartition, Memory]:
    found = {}
    for topic, answers in reply.topics:
        for number, offset, metadata, _ in answers:
            try:
                found[TopicPartition(topic, number)] = Memory(max(0, offset), metadata or "")
            except ForeignMemoryError as error:
                raise RiverlensError(
                    f"the consumer group {group!r} is another program's (its metadata: {error}); see group_id"
                ) from None
    return found
