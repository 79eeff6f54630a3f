"""`riverlens worker redrive` on a real Kafka, with a real worker behind it."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener

from riverlens.dead_letter import Origin, Reason, dead_letter_headers
from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import headers_of, settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, ends, put, put_null, read_all
from tests.harness.waiting import wait_for

CAPTURED = "2026-09-30T12:00:00.033Z"
PARTITION = 2


@dataclass(frozen=True, slots=True)
class Redriven:
    """A run: its exit code, what it printed, what it logged."""

    code: int
    out: str
    log: str


async def redrive(kafka: KafkaSettings, topics: TopicSet, *flags: str) -> Redriven:
    """Run the command as a person does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "riverlens", "worker", "redrive"),
        f"--bootstrap-servers={kafka.bootstrap_servers}",
        f"--frames-topic={topics.frames}",
        f"--dlq-topic={topics.dlq}",
        f"--group-id={topics.group}",
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, log = await process.communicate()
    assert b"Traceback" not in log, log.decode()
    return Redriven(process.returncode or 0, out.decode(), log.decode())


def dead(offset: int, *own: tuple[str, bytes], **fields: Any) -> Put:
    """A dead letter of frame `offset`, as a worker sets it aside."""
    headers = dead_letter_headers(
        own,
        origin=Origin(fields.pop("topic"), PARTITION, offset),
        reason=fields.pop("reason", Reason.UNDECODABLE),
        detail="why",
        at_ms=int(time.time() * 1000),
        captured_at_ms=1_790_769_600_033,
        null_value=fields.pop("null", False),
    )
    more = fields.pop("more", ())
    value, key = fields.pop("value", b"no image"), fields.pop("key", b"lobby")
    assert not fields
    return Put(value, key, [*headers, *more], PARTITION)


FRAME_HEADERS = [("captured-at", CAPTURED.encode()), ("frame-id", b"7"), ("x-own", b"\xff")]
BIG = jpeg(size=(320, 240))


async def _set_two_aside(kafka: KafkaSettings, topics: TopicSet, workers: StartWorker) -> None:
    """Two of three frames have more pixels than this worker takes."""
    frames = [
        Put(BIG, b"yard", FRAME_HEADERS, PARTITION),
        Put(BIG, b"hall", partition=PARTITION, timestamp_ms=1_790_769_600_033),
        Put(jpeg(), b"yard", partition=PARTITION),
    ]
    await put(kafka, topics.frames, frames)
    worker = await workers(topics, max_pixels=10_000)
    await settled(kafka, topics, 3)
    assert await worker.stop() == 0


async def test_a_dry_run_shows_what_would_go(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """It counts by reason and camera, and neither writes a frame nor remembers one."""
    await _set_two_aside(kafka, topic_set, workers)
    for _ in range(2):
        shown = await redrive(kafka, topic_set, "--dry-run")
        assert (shown.code, await ends(kafka, topic_set.frames)) == (0, {0: 0, 1: 0, 2: 3, 3: 0})
        assert "would put back 2 of 2 dead letters" in shown.out
        rows = [line.split()[:3] for line in shown.out.splitlines()[1:3]]
        assert rows == [["too_large", "hall", "1"], ["too_large", "yard", "1"]]


async def test_a_frame_set_aside_comes_back_as_an_event(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """What the worker could not take is set aside; with the cause mended, it is put back, once, whole."""
    await _set_two_aside(kafka, topic_set, workers)
    await workers(topic_set)
    one = await redrive(kafka, topic_set, "--reason=too_large", "--camera=y*")
    assert (one.code, one.out) == (0, "put back 1 of 2 dead letters; 1 not asked for\n"), one.log
    rest = await redrive(kafka, topic_set)
    assert rest.out == "put back 1 of 1 dead letters\n", rest.log
    account = await settled(kafka, topic_set, 5)
    account.check()
    assert len(account.letters) == 2, "dead letters stay"
    first, second = account.events[PARTITION, 3], account.events[PARTITION, 4]
    assert (first["camera_id"], first["captured_at"], first["frame_id"]) == ("yard", CAPTURED, "7")
    assert (second["camera_id"], second["captured_at"]) == ("hall", CAPTURED)
    back = account.frames[PARTITION, 3]
    assert (back.key, back.value) == (b"yard", BIG)
    assert list(back.headers)[:3] == FRAME_HEADERS
    assert headers_of(back)["redriven"] == "1"
    assert headers_of(back)["redriven-from"] == f"{topic_set.frames}/{PARTITION}/0"
    assert abs(back.timestamp / 1000 - time.time()) < 600, "the record's time is that of writing"

    nothing = await redrive(kafka, topic_set)
    assert nothing.out == "put back 0 of 0 dead letters\n"
    again = await redrive(kafka, topic_set, "--again", "--limit=1")
    assert again.out == "put back 1 of 1 dead letters (stopped at --limit)\n"


async def test_a_frame_comes_back_three_times_at_most(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """A frame that is set aside again and again is put back three times, then refused, and this is said."""
    await workers(topic_set)
    await put(kafka, topic_set.frames, [Put(b"no image", partition=PARTITION)])
    for times in range(1, 4):
        await settled(kafka, topic_set, times)
        ran = await redrive(kafka, topic_set)
        assert ran.out.startswith("put back 1 of "), ran.log
    await settled(kafka, topic_set, 4)
    ran = await redrive(kafka, topic_set)
    assert (ran.code, ran.out) == (0, "put back 0 of 1 dead letters; 1 came back 3 times already\n")
    records = await read_all(kafka, topic_set.frames)
    assert [headers_of(record).get("redriven") for record in records] == [None, "1", "2", "3"]
    origin = f"{topic_set.frames}/{PARTITION}/0"
    assert [headers_of(record).get("redriven-from") for record in records[1:]] == [origin] * 3


async def test_odd_letters_go_back_as_they_came_or_are_told(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """Null values go back as null; letters without their frame, too large ones, strangers stay, counted."""
    topic = topic_set.frames
    letters = [
        dead(0, topic=topic, value=b"", null=True),
        dead(1, topic=topic, value=b"", null=True, key=None),
        dead(2, topic=topic, value=b"", more=[("dlq-value-omitted", b"true")]),
        dead(3, topic=topic, value=b"", null=True, reason=Reason.UNREADABLE),
        dead(4, topic="elsewhere"),
        dead(5, topic=topic, value=bytes(8_500_000)),
        dead(6, topic=topic, value=b"behind it"),
        Put(b"hello", partition=PARTITION),
    ]
    await put(kafka, topic_set.dlq, letters)
    ran = await redrive(kafka, topic_set, "--max-frame-bytes=10000000")
    assert ran.code == 1
    assert ran.out == (
        "put back 3 of 7 dead letters; 1 not asked for; 1 without the frame: it was too large to be kept "
        "(dlq-value-omitted); 1 without the frame: it could not be read from Kafka; 1 not taken by Kafka: "
        "too large; see max_frame_bytes and max.message.bytes of the topic; 1 records are no dead letters of "
        "riverlens\n"
    )
    assert f"frame {topic}/{PARTITION}/5 stays" in ran.log
    back = await read_all(kafka, topic)
    assert [(r.partition, r.key, r.value) for r in back] == [
        (PARTITION, b"lobby", None),
        (PARTITION, None, None),
        (PARTITION, b"lobby", b"behind it"),
    ]
    again = await redrive(kafka, topic_set)
    assert again.out.startswith("put back 0 of "), again.log
    assert len(await read_all(kafka, topic)) == 3


async def test_two_at_once_put_nothing_back_twice(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """While somebody holds the group that remembers, a redrive ends with one line and writes nothing."""
    await put(kafka, topic_set.dlq, [dead(0, topic=topic_set.frames)])
    held = asyncio.Event()

    class Held(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
        async def on_partitions_assigned(self, _: object) -> None:
            held.set()

        async def on_partitions_revoked(self, _: object) -> None:
            pass

    consumer = AIOKafkaConsumer(
        **kafka.client_options(), group_id=f"{topic_set.group}-redrive", enable_auto_commit=False
    )
    consumer.subscribe([topic_set.dlq], listener=Held())
    async with consumer:
        await held.wait()
        ran = await redrive(kafka, topic_set)
    assert ran.code == 1
    assert "another redrive of the group" in ran.log
    assert ran.out.startswith("put back 0 of 0")
    assert not await read_all(kafka, topic_set.frames)

    async def free() -> bool:
        return (await redrive(kafka, topic_set)).out.startswith("put back 1 of 1")

    await wait_for(free, what="the group is free again")


async def test_without_kafka_or_topic_one_line_says_so(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """A topic that is not there ends with the line that names its setting."""
    ran = await redrive(kafka, topic_set, "--dlq-topic=no-such-topic", "--dry-run")
    assert ran.code == 4
    assert "no topic 'no-such-topic' (dlq_topic)" in ran.log
    await put_null(kafka, topic_set.dlq, 0)
    stranger = await redrive(kafka, topic_set, "--dry-run")
    assert (stranger.code, stranger.out) == (
        0,
        "would put back 0 of 0 dead letters; 1 records are no dead letters of riverlens\n",
    )


async def test_letters_of_transactions_come_back_too(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Set aside in exactly-once mode, frames go back once; the marks between letters leave no holes."""
    worker = await workers(topic_set, delivery="exactly-once", transaction_interval_ms=10)
    for count in range(1, 4):
        await put(kafka, topic_set.frames, [Put(b"no image %d" % count, partition=PARTITION)])
        await set_aside(kafka, topic_set, count)
    assert await worker.stop() == 0
    ran = await redrive(kafka, topic_set)
    assert ran.out == "put back 3 of 3 dead letters\n", ran.log
    back = (await read_all(kafka, topic_set.frames))[3:]
    assert [record.value for record in back] == [b"no image 1", b"no image 2", b"no image 3"]
    began_s = time.monotonic()
    assert (await redrive(kafka, topic_set)).out == "put back 0 of 0 dead letters\n"
    assert time.monotonic() - began_s < 28, "a mark at the end is not waited for"


async def set_aside(kafka: KafkaSettings, topics: TopicSet, count: int) -> None:
    """Wait until so many dead letters can be read."""

    async def there() -> bool:
        return len(await read_all(kafka, topics.dlq, committed=True)) >= count

    await wait_for(there, what=f"{count} dead letters")
