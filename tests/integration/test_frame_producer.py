"""FrameProducer on a real broker: order, limits, and a broker that is slow, gone or strict."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from riverlens import Frame, FrameProducer
from riverlens.broker import EmbeddedBroker
from riverlens.errors import RiverlensError, UnreachableError
from riverlens.frame_producer import DeliveryError, FrameTooLargeError, Outcome
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs
from tests.conftest import MakeTopics, TopicSet
from tests.harness.waiting import wait_for
from tests.integration.producer_help import read_all

_MB = 1_000_000
_BUFFER_BYTES = 4 * _MB


def _frame(sequence: int, size_bytes: int = 40_000, camera_id: str = "lobby") -> Frame:
    # Of now: retention, which Kafka looks after every 30 s, goes by the frames' own times.
    return Frame(camera_id, bytes(size_bytes), time.time_ns() // 1_000_000, sequence=sequence)


@pytest.fixture(scope="module")
def fragile() -> Iterator[EmbeddedBroker]:
    """A broker to be harmed."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def fragile_topic(fragile: EmbeddedBroker, request: pytest.FixtureRequest) -> str:
    """A fresh topic of one partition on the fragile broker."""
    kafka = KafkaSettings(bootstrap_servers=fragile.bootstrap_servers)
    name = f"frames-{abs(hash(request.node.name)) % 10**8}"
    settings = TopicsSettings(kafka=kafka, frames_topic=name, partitions=1)
    await ensure_topics(kafka, topic_specs(settings)[:1])
    return name


async def test_frames_of_many_cameras_arrive_in_order(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """Each camera's frames arrive once each, in the order of the calls; the statistics agree."""
    async with FrameProducer(kafka.bootstrap_servers, topic=topic_set.frames) as producer:
        for sequence in range(100):
            for camera in range(5):
                assert await producer.send(_frame(sequence, camera_id=f"c{camera}"))
        await producer.flush()
        stats = producer.stats
    frames = await read_all(kafka, topic_set.frames)
    assert {name: [f.sequence for f in found] for name, found in frames.items()} == {
        f"c{camera}": list(range(100)) for camera in range(5)
    }
    assert (stats.sent, stats.acknowledged, stats.pending) == (500, 500, 0)
    assert stats.acknowledged_bytes == 500 * 40_000


async def test_leaving_the_context_flushes(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """Nothing need be called but send."""
    async with FrameProducer(kafka, topic=topic_set.frames) as producer:
        await producer.send(_frame(0))
    assert len((await read_all(kafka, topic_set.frames))["lobby"]) == 1


async def test_an_8_mib_frame_fits_and_a_larger_one_is_refused(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """The default limit of producer and topic agree, and beyond it the message says what to do."""
    async with FrameProducer(kafka, topic=topic_set.frames) as producer:
        await producer.send(_frame(0, 8 * 1024 * 1024))
        with pytest.raises(
            FrameTooLargeError, match=r"8388609 bytes, 8388608 are allowed.*max.message.bytes"
        ):
            await producer.send(_frame(1, 8 * 1024 * 1024 + 1))
    (frame,) = (await read_all(kafka, topic_set.frames))["lobby"]
    assert len(frame.image) == 8 * 1024 * 1024


async def test_a_rejected_frame_costs_itself_only(kafka: KafkaSettings, make_topics: MakeTopics) -> None:
    """On a topic that takes less, every frame that fits arrives once, in order; flush tells of the others."""
    topics = await make_topics(max_frame_bytes=1024)
    outcomes: Counter[Outcome] = Counter()
    producer = FrameProducer(
        kafka, topic=topics.frames, on_settled=lambda _, outcome: outcomes.update([outcome])
    )
    async with producer:
        for sequence in range(60):
            await producer.send(_frame(sequence, 200_000 if sequence % 20 == 7 else 30_000))
        with pytest.raises(DeliveryError, match=r"3 frames did not arrive.*MessageSizeTooLarge"):
            await producer.flush()
        with pytest.raises(FrameTooLargeError, match="199999 are allowed"):
            await producer.send(_frame(60, 200_000))
    found = [frame.sequence for frame in (await read_all(kafka, topics.frames))["lobby"]]
    assert found == [sequence for sequence in range(60) if sequence % 20 != 7]
    assert outcomes == {Outcome.ACKNOWLEDGED: 57, Outcome.FAILED: 3}


async def test_a_capture_time_the_broker_rejects_costs_itself_only(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """A clock two hours ahead is Kafka's InvalidTimestamp: one failed frame, and the rest arrives."""
    ahead = Frame("lobby", b"x", 4_000_000_000_000)
    async with FrameProducer(kafka, topic=topic_set.frames) as producer:
        for frame in (_frame(0), ahead, _frame(1)):
            await producer.send(frame)
        with pytest.raises(DeliveryError, match=r"1 frames did not arrive.*InvalidTimestamp"):
            await producer.flush()
    assert [f.sequence for f in (await read_all(kafka, topic_set.frames))["lobby"]] == [0, 1]


@pytest.mark.parametrize(
    ("servers", "topic", "line"),
    [(None, "no-such-topic", "has no topic 'no-such-topic'"), ("127.0.0.1:1", "frames", "cannot be reached")],
)
async def test_what_is_not_there_is_told_at_once(
    kafka: KafkaSettings, servers: str | None, topic: str, line: str
) -> None:
    """A missing topic, which is not created, and a missing broker fail when the producer opens."""
    with pytest.raises(UnreachableError, match=line):
        async with FrameProducer(servers or kafka, topic=topic):
            pass


async def test_sending_outside_the_context_is_a_mistake(kafka: KafkaSettings) -> None:
    """A producer that is not open says so."""
    with pytest.raises(RiverlensError, match="not open"):
        await FrameProducer(kafka).send(_frame(0))


async def test_while_the_broker_hangs_a_blocked_sender_waits_and_nothing_is_lost(
    fragile: EmbeddedBroker, fragile_topic: str
) -> None:
    """Files: held bytes stay within the buffer, sending stops, and goes on when the broker does."""
    kafka = KafkaSettings(bootstrap_servers=fragile.bootstrap_servers)
    async with FrameProducer(kafka, topic=fragile_topic, buffer_bytes=_BUFFER_BYTES) as producer:
        await producer.send(_frame(0))
        await producer.flush()
        fragile.pause(1)
        try:
            sending = asyncio.create_task(_send_all(producer, range(1, 300)))

            async def full() -> bool:
                return producer.stats.pending_bytes > _BUFFER_BYTES - 50_000

            await wait_for(full, what="the buffer is full")
            assert not sending.done()
            assert producer.stats.pending_bytes <= _BUFFER_BYTES
        finally:
            fragile.resume(1)
        await sending
    assert [f.sequence for f in (await read_all(kafka, fragile_topic))["lobby"]] == list(range(300))


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
async def test_while_the_broker_hangs_a_live_camera_drops(
    fragile: EmbeddedBroker, fragile_topic: str, policy: str
) -> None:
    """Live: sending never waits, memory is bounded, every frame is acknowledged or counted as dropped."""
    kafka = KafkaSettings(bootstrap_servers=fragile.bootstrap_servers)
    dropped: list[int | None] = []
    producer = FrameProducer(
        kafka,
        topic=fragile_topic,
        buffer_bytes=16 * _MB,
        when_full="drop_oldest" if policy == "drop_oldest" else "drop_newest",
        on_settled=lambda f, outcome: dropped.append(f.sequence) if outcome is Outcome.DROPPED else None,
    )
    async with producer:
        fragile.pause(1)
        try:
            async with asyncio.timeout(60):
                await _send_all(producer, range(1000))
            assert producer.stats.pending_bytes <= 16 * _MB
        finally:
            fragile.resume(1)
    stats = producer.stats
    assert stats.sent == 1000 == stats.acknowledged + stats.dropped
    found = [f.sequence for f in (await read_all(kafka, fragile_topic))["lobby"]]
    assert found == sorted(set(range(1000)) - {number for number in dropped if number is not None})
    assert (999 in found) is (policy == "drop_oldest")


async def test_closing_on_a_broker_that_hangs_ends_and_tells(
    fragile: EmbeddedBroker, fragile_topic: str
) -> None:
    """Leaving the context waits no longer than it was told to, and says how many frames may be lost."""
    kafka = KafkaSettings(bootstrap_servers=fragile.bootstrap_servers)
    producer = FrameProducer(kafka, topic=fragile_topic, close_timeout_s=0.5)

    async def send_and_leave() -> None:
        async with producer:
            fragile.pause(1)
            await _send_all(producer, range(5))

    try:
        async with asyncio.timeout(60):
            with pytest.raises(DeliveryError, match=r"did not acknowledge 5 frames within"):
                await send_and_leave()
    finally:
        fragile.resume(1)
    assert (producer.stats.failed, producer.stats.pending) == (5, 0)


async def test_a_broker_that_was_killed_and_comes_back_gets_everything(
    fragile: EmbeddedBroker, fragile_topic: str
) -> None:
    """Kill -9 of the broker in mid-stream: every frame arrives, in order."""
    kafka = KafkaSettings(bootstrap_servers=fragile.bootstrap_servers)
    under_way = asyncio.Event()
    producer = FrameProducer(
        kafka, topic=fragile_topic, buffer_bytes=_BUFFER_BYTES, on_settled=lambda *_: under_way.set()
    )
    async with producer:
        sending = asyncio.create_task(_send_all(producer, range(400)))
        await under_way.wait()
        await asyncio.to_thread(fragile.kill, 1)
        await asyncio.to_thread(fragile.start, 1)
        await sending
    found = [f.sequence for f in (await read_all(kafka, fragile_topic))["lobby"]]
    assert list(dict.fromkeys(found)) == list(range(400))


async def _send_all(producer: FrameProducer, sequences: range) -> None:
    for sequence in sequences:
        await producer.send(_frame(sequence))
