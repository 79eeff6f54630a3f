"""The source alone, on the real broker: what aiokafka does not survive by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest
from prometheus_client import CollectorRegistry

from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from riverlens_worker.backoff import Deadline
from riverlens_worker.channel import Signal
from riverlens_worker.fetch_pace import Demand
from riverlens_worker.messages import LeasedFrame, Outcome, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source import Source
from tests.conftest import TopicSet
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for


@asynccontextmanager
async def reading(kafka: KafkaSettings, topics: TopicSet) -> AsyncIterator[Source]:
    """A source that reads while the block runs."""
    settings = WorkerSettings(
        kafka=kafka,
        frames_topic=topics.frames,
        events_topic=topics.events,
        dlq_topic=topics.dlq,
        group_id=topics.group,
        session_timeout_ms=6_000,
    )
    source = Source(settings, Metrics(CollectorRegistry()), time.monotonic())
    await source.start()
    running = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        source.end()
        await running
        await source.close(Deadline.after(5, time.monotonic()))


async def take(source: Source, count: int) -> None:
    """Take and settle so many frames."""
    async with asyncio.timeout(60):
        while count > 0:
            for frame in await source.take(64):
                assert isinstance(frame, LeasedFrame)
                source.settle([Settled(frame, Outcome.PUBLISHED)])
                count -= 1


async def test_a_dead_heartbeat_is_mended(
    kafka: KafkaSettings, topic_set: TopicSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat's answer that aiokafka does not know ends its task for good; the source joins anew."""
    async with reading(kafka, topic_set) as source:
        await put(kafka, topic_set.frames, [Put(jpeg(), partition=0)])
        await take(source, 1)
        coordinator = source._state.consumer._coordinator
        dead = asyncio.Event()

        async def answer_unknown() -> bool:
            dead.set()
            raise KafkaError("an answer nobody knows")

        with monkeypatch.context() as patched:
            patched.setattr(coordinator, "_do_heartbeat", answer_unknown)
            async with asyncio.timeout(60):
                await dead.wait()
        await put(kafka, topic_set.frames, [Put(jpeg(), partition=n % 4) for n in range(40)])
        await take(source, 40)


async def test_a_coordinator_that_moves_is_not_an_empty_group(
    kafka: KafkaSettings, topic_set: TopicSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error for the whole OffsetFetch reply is asked again, not read as "nothing committed"."""
    tp = TopicPartition(topic_set.frames, 0)
    async with reading(kafka, topic_set) as source:
        await put(kafka, topic_set.frames, [Put(jpeg(), partition=0)] * 3)
        await take(source, 3)

        async def three() -> bool:
            return await source.committed(0) == 3

        await wait_for(three, what="three frames are committed")
        group, coordinator = source._state.group, source._state.consumer._coordinator
        send = coordinator._send_req
        answers: list[int] = []

        async def moved_once(request: object) -> object:
            reply = await send(request)
            if not answers:
                reply.error_code, reply.topics = 16, []
            answers.append(reply.error_code)
            return reply

        with monkeypatch.context() as patched:
            patched.setattr(coordinator, "_send_req", moved_once)
            assert await group.committed([tp]) == {tp: 3}
        assert answers[0] == 16
        assert len(answers) > 1


async def test_a_member_is_one_until_the_group_forgets_it(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """The heartbeat of a live member proves it; of another generation it says no, and leases are fenced."""
    async with reading(kafka, topic_set) as source:
        await put(kafka, topic_set.frames, [Put(jpeg(), partition=0)])
        await take(source, 1)
        assert await source.is_member()
        lease = source._state.leases.get(0)
        assert lease is not None
        coordinator = source._state.consumer._coordinator
        generation = coordinator.generation
        coordinator.generation = generation + 7
        assert not await source.is_member()
        assert lease.fenced


async def test_while_the_device_is_busy_frames_gather_at_kafka(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """The fetcher of aiokafka is kept from asking: a frame waits there until the next batch is due."""
    async with reading(kafka, topic_set) as source:
        await put(kafka, topic_set.frames, [Put(jpeg())])
        await take(source, 1)
        source.serve(lambda: Demand(due_in_s=0.4, rows=1_000), Signal(), ahead=1_000)
        # The worker serves before it reads; here the fetch that waits at Kafka takes this one along yet.
        await put(kafka, topic_set.frames, [Put(jpeg())])
        await take(source, 1)
        # On a slow machine much of the rest may be over when the frame comes: once is enough.
        for _ in range(20):
            began_s = time.monotonic()
            await put(kafka, topic_set.frames, [Put(jpeg())])
            await take(source, 1)
            if (held_s := time.monotonic() - began_s) > 0.2:
                break
    assert held_s > 0.2, "no fetch was put off"


async def test_one_fetch_brings_so_much_at_most(
    kafka: KafkaSettings, topic_set: TopicSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog of many partitions comes in several answers of some megabytes, not all of it in one."""
    wide = f"{topic_set.frames}-wide"
    partitions, padded = 12, jpeg().ljust(700_000, b"\0")
    await ensure_topics(kafka, [TopicSpec(wide, partitions)])
    await put(kafka, wide, [Put(padded, partition=number) for number in range(partitions)])
    answers_bytes: list[int] = []
    send = AIOKafkaClient.send

    async def measured(self: AIOKafkaClient, node: int, request: Any, **options: Any) -> Any:
        answer = await send(self, node, request, **options)
        if isinstance(request, FetchRequest):
            answers_bytes.append(sum(len(part[-1]) for _, parts in answer.topics for part in parts))
        return answer

    monkeypatch.setattr(AIOKafkaClient, "send", measured)
    async with reading(kafka, replace(topic_set, frames=wide)) as source:
        await take(source, partitions)
    assert sum(answers_bytes) > partitions * 700_000
    assert max(answers_bytes) <= 4 * 1024 * 1024
