"""Frames that retention removes before a worker has read them: each is read or counted, and none waits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from riverlens.broker import EmbeddedBroker
from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import MakeTopics
from tests.harness.account import all_committed, settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

FRAMES = [Put(jpeg(), partition=0) for _ in range(20)]
LARGE = Put(jpeg() + bytes(700_000), partition=0)
"""A fetch takes one of them."""


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """A broker to harm, which writes down where its partitions begin only when it is stopped in order."""
    never = {"log.flush.start.offset.checkpoint.interval.ms": "3600000"}
    with EmbeddedBroker(properties=never) as running:
        yield running


@pytest.fixture(scope="module")
def kafka(broker: EmbeddedBroker) -> KafkaSettings:
    """How to reach it."""
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


async def _remove(kafka: KafkaSettings, topic: str, before: dict[int, int]) -> None:
    """What retention does: all frames below these offsets are removed."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        removed = {TopicPartition(topic, n): RecordsToDelete(before_offset=at) for n, at in before.items()}
        await admin.delete_records(removed)
    finally:
        await admin.close()


async def _expired(worker: Worker, count: int) -> None:
    async def counted() -> bool:
        return (await worker.metrics())["riverlens_frames_expired_total"] == count

    await wait_for(counted, what=f"{count} expired frames are counted")


async def test_frames_removed_while_no_worker_ran_are_counted(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """The next worker counts them to the frame when it takes over, before any new frame comes."""
    topics = await make_topics(partitions=2)
    first = await workers(topics)
    await put(kafka, topics.frames, FRAMES[:10])
    await settled(kafka, topics, 10)
    await all_committed(kafka, topics)
    assert await first.stop() == 0
    await put(kafka, topics.frames, FRAMES)
    await _remove(kafka, topics.frames, {0: 30})
    second = await workers(topics)
    await _expired(second, 20)
    assert "retention removed 20 frames of partition 0" in second.log()
    await put(kafka, topics.frames, FRAMES[:5])
    await settled(kafka, topics, 15, frames=False)
    await _expired(second, 20)
    assert await second.stop() == 0


@pytest.fixture
async def behind(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> AsyncIterator[tuple[Worker, str]]:
    """A worker for which ten large frames wait when all are removed; and its topic. Its model answers again.

    Of those one is in its hands, and one or two that it had fetched.
    """
    topics = await make_topics(partitions=2)
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(
            topics,
            server=own.address,
            room_frames=1,
            max_batch_size=1,
            log_level="debug",
            session_timeout_ms=30_000,
        )
        own.process.send_signal(signal.SIGSTOP)
        try:
            await put(kafka, topics.frames, [LARGE] * 10)
            await _unread(worker, 9)
            await _remove(kafka, topics.frames, {0: 10})
            await _unread(worker, 0)
        finally:
            own.process.send_signal(signal.SIGCONT)
        yield worker, topics.frames
        assert await worker.stop() == 0


async def _unread(worker: Worker, frames: int) -> None:
    async def unread() -> bool:
        return (await worker.metrics()).get("riverlens_lag_frames{partition=0}") == frames

    await wait_for(unread, what=f"{frames} frames wait on Kafka")


async def _all_known(worker: Worker) -> None:
    async def all_known() -> bool:
        counts = await worker.balance()
        expired = (await worker.metrics())["riverlens_frames_expired_total"]
        return counts["in_flight"] == 0 and counts["consumed"] + expired == 11 and counts["consumed"] <= 5

    await wait_for(all_known, what="every frame is read or counted as removed")


async def test_frames_removed_before_a_slow_worker_read_them_are_counted(
    kafka: KafkaSettings, behind: tuple[Worker, str]
) -> None:
    """Of a worker that is behind each frame is read or counted as removed, and work goes on."""
    worker, frames = behind
    await put(kafka, frames, [LARGE])
    await _all_known(worker)


async def test_frames_that_a_crash_brings_back_after_they_were_removed_do_not_wait(
    broker: EmbeddedBroker, kafka: KafkaSettings, behind: tuple[Worker, str]
) -> None:
    """A broker forgets in a crash what it removed of late; the worker has moved past it and says so."""
    worker, frames = behind

    async def moved_past() -> bool:
        return "partition=0) at offset 10" in worker.log()

    await wait_for(moved_past, what="the worker has moved past what was removed")
    broker.kill(1)
    await asyncio.to_thread(broker.start, 1)
    await put(kafka, frames, [LARGE])
    await _all_known(worker)
    await _unread(worker, 0)
