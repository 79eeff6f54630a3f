"""At least once: what goes to Kafka together, what alone, and in which order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.messages import Outcome, Settled
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.publisher.outbox import Outgoing
from riverlens_worker.publisher.producer import MAX_BATCH_BYTES
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
        letters: how many dead letters were.
    """

    def __init__(self) -> None:
        self.sent: dict[int, list[list[int]]] = defaultdict(list)
        self.letters = 0
        self._deliveries: list[asyncio.Future[object]] = []

    async def partitions_for(self, _: str) -> set[int]:
        """As many each."""
        return set(range(PARTITIONS))

    def create_batch(self) -> BatchBuilder:
        """Made as aiokafka makes it."""
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[object]:
        """Hand a batch over."""
        raw = bytes(batch._build())
        assert len(raw) <= MAX_BATCH_BYTES
        return self._taken(topic, partition, [record.value for record in MemoryRecords(raw).next_batch()])

    async def send(self, topic: str, value: bytes, *, partition: int, **_: Any) -> asyncio.Future[object]:
        """Hand a record over, or refuse it for its size."""
        if len(value) > LIMIT_BYTES:
            raise MessageSizeTooLargeError
        return self._taken(topic, partition, [value])

    def _taken(self, topic: str, partition: int, values: list[bytes]) -> asyncio.Future[object]:
        if topic == EVENTS:
            self.sent[partition].append([int(value.split()[0]) for value in values])
        else:
            self.letters += len(values)
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
        self.sender = Sender(WorkerSettings(), self.acknowledged.extend, self.settled.extend)
        self.sender._producer = self.producer
        self.leases = [PartitionLease("frames", partition) for partition in range(PARTITIONS)]

    def event(self, partition: int, nbytes: int = SMALL) -> Outgoing:
        """The event of the partition's next frame."""
        lease = self.leases[partition]
        source = leased(lease, lease.next_ordinal)
        value = b"%d " % source.offset
        return Outgoing(
            topic=EVENTS,
            partition=partition,
            key=b"cam",
            value=value.ljust(nbytes, b"-"),
            headers=[("h", b"x")],
            settled=Settled(source, Outcome.PUBLISHED),
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
    assert line.producer.letters == sizes.count(TOO_LARGE)


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
    for partition, batches in line.producer.sent.items():
        sent = [offset for batch in batches for offset in batch]
        offsets = [event.settled.source.offset for event in events[partition]]
        assert sent == offsets[: len(sent)], "in order, and nothing passes what is left to another"
        assert line.leases[partition].fenced or sent == offsets
