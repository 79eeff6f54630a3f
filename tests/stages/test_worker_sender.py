"""At least once: what goes to Kafka together, what alone, and in which order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.messages import Outcome, Settled
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.publisher import sender
from riverlens_worker.publisher.outbox import Outgoing
from riverlens_worker.publisher.producer import MAX_BATCH_BYTES, queue_batch
from riverlens_worker.publisher.sender import Sender
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import examples, leased

EVENTS, DEAD_LETTERS = "detections", "frames.dlq"
LIMIT_BYTES = 2 * MAX_BATCH_BYTES
SMALL, LARGE, ALONE, TOO_LARGE = 100, MAX_BATCH_BYTES // 2 + 1, MAX_BATCH_BYTES + 1, LIMIT_BYTES + 1
PARTITIONS = 2


class Producer:
    """aiokafka's without a Kafka; the batches are its own. Deliveries wait until the test lets them be.

    Attributes:
        sent: offsets of the frames whose events were handed over, in order; those of one batch in one list.
        letters: the same of dead letters, all together.
        ended: raised where something is handed over.
        steps: hand-overs, and between them when membership was asked for.
    """

    def __init__(self) -> None:
        self.sent: dict[int | None, list[list[int]]] = defaultdict(list)
        self.letters: list[int] = []
        self.ended: ProducerClosed | None = None
        self.steps: list[str] = []
        self._deliveries: list[asyncio.Future[object]] = []

    async def partitions_for(self, _: str) -> set[int]:
        """As many each."""
        return set(range(PARTITIONS))

    def create_batch(self) -> BatchBuilder:
        """Made as aiokafka makes it."""
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    @property
    def _message_accumulator(self) -> SimpleNamespace:
        """Where aiokafka queues batches."""
        return SimpleNamespace(_exception=self.ended, _closed=False, _append_batch=self._append_batch)

    def _append_batch(self, batch: BatchBuilder, place: TopicPartition) -> SimpleNamespace:
        raw = bytes(batch._build())
        assert len(raw) <= MAX_BATCH_BYTES
        values = [record.value for record in MemoryRecords(raw).next_batch()]
        return SimpleNamespace(future=self._taken(place.topic, place.partition, values))

    async def send(
        self, topic: str, value: bytes, *, partition: int | None, **_: Any
    ) -> asyncio.Future[object]:
        """Hand a record over, or refuse it for its size."""
        if self.ended is not None:
            raise self.ended
        if len(value) > LIMIT_BYTES:
            raise MessageSizeTooLargeError
        return self._taken(topic, partition, [value])

    def _taken(self, topic: str, partition: int | None, values: list[bytes]) -> asyncio.Future[object]:
        offsets = [int(value.split()[0]) for value in values]
        if topic == EVENTS:
            self.sent[partition].append(offsets)
        else:
            self.letters += offsets
        self.steps.append("handed over")
        self._deliveries.append(asyncio.get_running_loop().create_future())
        return self._deliveries[-1]

    async def deliver(self) -> None:
        """Kafka has all that was handed over, and the sender has heard of it."""
        for each in self._deliveries:
            each.set_result(object())
        self._deliveries.clear()
        await asyncio.sleep(0)


class Line:
    """A sender and what it tells."""

    def __init__(self) -> None:
        self.producer = Producer()
        self.acknowledged: list[Outgoing] = []
        self.settled: list[Settled] = []
        self.sender = Sender(
            WorkerSettings(), self.acknowledged.extend, self.settled.extend, self._may_publish
        )
        self.sender._producer = self.producer
        self.leases = [PartitionLease("frames", partition) for partition in range(PARTITIONS)]

    async def _may_publish(self) -> None:
        """The leases are ours for all we know."""
        self.producer.steps.append("asked")

    def event(self, partition: int, nbytes: int = SMALL, topic: str = EVENTS) -> Outgoing:
        """The event, or the dead letter, of the partition's next frame."""
        lease = self.leases[partition]
        value = b"%d " % lease.next_ordinal
        source = leased(lease, lease.next_ordinal, value)
        outcome = Outcome.PUBLISHED if topic == EVENTS else Outcome.DEAD_LETTERED
        return Outgoing(
            topic=topic,
            partition=partition,
            key=b"cam",
            value=value.ljust(nbytes, b"-"),
            headers=[("h", b"x")],
            settled=Settled(source, outcome),
            captured_at_ms=0,
            made_at_ms=0,
        )


async def test_events_of_a_partition_go_together() -> None:
    """One batch, one future: and what is under way keeps nobody waiting, as it would a second batch."""
    line = Line()
    await line.sender.deliver([line.event(0), line.event(1), line.event(0), line.event(0)])
    await line.sender.deliver([line.event(0), line.event(0), line.event(1)])
    assert line.producer.sent == {0: [[0, 1, 2], [3], [4]], 1: [[0], [1]]}
    assert (line.acknowledged, line.sender.waiting()) == ([], 7)
    await line.producer.deliver()
    await line.sender.deliver([line.event(0), line.event(0)])
    assert line.producer.sent[0][-1] == [5, 6]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((LARGE, SMALL, LARGE, SMALL), [[0, 1], [2], [3]]),
        ((SMALL, ALONE, SMALL), [[0], [1], [2]]),
        ((ALONE, SMALL, SMALL), [[0], [1], [2]]),
        ((SMALL, SMALL, TOO_LARGE, SMALL), [[0, 1], [3]]),
        ((TOO_LARGE, SMALL, SMALL), [[1], [2]]),
    ],
)
async def test_what_does_not_fit_goes_alone(sizes: tuple[int, ...], expected: list[list[int]]) -> None:
    """A batch takes a first record of any size, which Kafka would refuse with all the others in it."""
    line = Line()
    await line.sender.deliver([line.event(0, nbytes) for nbytes in sizes])
    assert line.producer.sent == {0: expected}
    assert line.producer.letters == [n for n, nbytes in enumerate(sizes) if nbytes == TOO_LARGE]


async def test_dead_letters_of_a_partition_keep_their_order() -> None:
    """Also that of an event that turns out to be too large, behind another one's."""
    line = Line()
    await line.sender.deliver([line.event(0), line.event(0, topic=DEAD_LETTERS), line.event(0, TOO_LARGE)])
    assert (line.producer.sent, line.producer.letters) == ({0: [[0]]}, [1, 2])


async def test_a_partition_that_the_topic_lacks_is_left_to_the_key() -> None:
    """A batch must name its partition: these go one by one."""
    line = Line()
    line.leases.append(PartitionLease("frames", PARTITIONS))
    await line.sender.deliver([line.event(PARTITIONS), line.event(PARTITIONS)])
    assert line.producer.sent == {None: [[0], [1]]}


async def test_membership_is_asked_for_before_whatever_is_handed_over() -> None:
    """What is handed over may have to wait for room, and the partition may go meanwhile."""
    line = Line()
    await line.sender.deliver([line.event(0)])
    await line.sender.deliver([line.event(0), line.event(1), line.event(1), line.event(0)])
    assert line.producer.sent == {0: [[0], [1], [2]], 1: [[0, 1]]}
    assert line.producer.steps == ["asked", "handed over"] * 4


async def test_after_a_failure_nothing_is_handed_over() -> None:
    """The next producer sends it all, in order."""
    line = Line()
    line.sender._failure = ProducerClosed()
    await line.sender.deliver([line.event(0), line.event(0)])
    assert (line.producer.sent, line.sender.waiting()) == ({}, 2)


async def test_a_batch_that_cannot_be_handed_over_is_a_failed_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ruined producer is replaced; nothing else may come of it."""
    monkeypatch.setattr(sender, "silence", lambda _: None)
    line = Line()
    line.producer.ended = ProducerClosed()
    await line.sender.deliver([line.event(0), line.event(0), line.event(1)])
    assert isinstance(line.sender._failure, ProducerClosed)
    assert (line.producer.sent, line.sender.waiting()) == ({}, 3)


async def test_a_rejected_batch_is_heard_of_before_its_successor_leaves() -> None:
    """In the very step in which aiokafka tells it: one later, its sender may have begun the next request."""
    loop = asyncio.get_running_loop()
    held = MessageAccumulator(None, MAX_BATCH_BYTES, 0, 10, loop=loop)
    producer: Any = SimpleNamespace(_message_accumulator=held)
    batch = held.create_builder()
    batch.append(timestamp=None, key=None, value=b"event", headers=[])
    heard: list[BaseException | None] = []
    future = queue_batch(producer, batch, EVENTS, 0)
    future.add_done_callback(lambda done: heard.append(done.exception()))
    (queued,) = held._batches[TopicPartition(EVENTS, 0)]
    queued.failure(MessageSizeTooLargeError())
    await asyncio.sleep(0)
    assert [type(error) for error in heard] == [MessageSizeTooLargeError]
    queued._drain_waiter.exception()
    held._exception = ProducerClosed()
    with pytest.raises(ProducerClosed):
        queue_batch(producer, held.create_builder(), EVENTS, 0)


MOVES = st.sampled_from(["event", "large", "drop", "deliver", "chunk", "fence"])


@examples(300)
@given(st.lists(st.tuples(MOVES, st.integers(0, PARTITIONS - 1)), max_size=60))
def test_each_has_one_outcome_in_its_turn(moves: list[tuple[str, int]]) -> None:
    """Whatever comes together, however large, and whenever partitions are taken away."""
    asyncio.run(_moved(moves))


async def _moved(moves: list[tuple[str, int]]) -> None:
    line = Line()
    chunk: list[Outgoing | Settled] = []
    events: dict[int, list[Outgoing]] = defaultdict(list)
    drops = 0
    for move, partition in [*moves, ("chunk", 0), ("deliver", 0)]:
        lease = line.leases[partition]
        if move in {"event", "large"}:
            event = line.event(partition, SMALL if move == "event" else LARGE)
            chunk.append(event)
            events[partition].append(event)
        elif move == "drop":
            drops += 1
            chunk.append(Settled(leased(lease, lease.next_ordinal), Outcome.DROPPED, "stale"))
        elif move == "chunk":
            await line.sender.deliver(chunk)
            chunk = []
        elif move == "deliver":
            await line.producer.deliver()
        else:
            lease.state = LeaseState.FENCED
    assert line.sender.waiting() == 0
    assert len(line.settled) == drops
    everything = [id(event) for mine in events.values() for event in mine]
    assert sorted(map(id, line.acknowledged)) == sorted(everything)
    for partition in range(PARTITIONS):
        sent = [offset for batch in line.producer.sent[partition] for offset in batch]
        offsets = [event.settled.source.offset for event in events[partition]]
        assert sent == offsets[: len(sent)], "in order, and nothing passes what is left to another"
        assert line.leases[partition].fenced or sent == offsets
