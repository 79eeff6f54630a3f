"""Exactly once: what a read_committed reader sees, whatever happens to producers, transactions and workers.

Long forms, with kills and frozen workers: tests/chaos.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from tests.conftest import TopicSet
from tests.harness.account import all_committed, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put, watcher
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

ONCE: dict[str, Any] = {"delivery": "exactly-once"}
FRAMES = 2_000


def many(count: int = FRAMES, partitions: int = 4) -> list[Put]:
    """Frames evenly over the partitions; every fiftieth is no image."""
    image = jpeg()
    return [Put(b"\x00" if n % 50 == 7 else image, b"cam", partition=n % partitions) for n in range(count)]


async def published(worker: Worker, count: int) -> None:
    """Wait until a worker has published so many events."""

    async def done() -> bool:
        return (await worker.balance())["published"] >= count

    await wait_for(done, what=f"{count} events")


async def test_each_frame_has_one_outcome(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Events and dead letters come once and in order; committed are all frames; the stop is clean."""
    await put(kafka, topic_set.frames, many())
    worker = await workers(topic_set, **ONCE)
    await all_committed(kafka, topic_set)
    balance = await worker.at_rest()
    assert balance["published"] + balance["dead_lettered"] == FRAMES
    assert await worker.stop() == 0
    account = await take_account(kafka, topic_set, committed=True)
    account.check()
    assert len(account.letters) == FRAMES // 50


async def test_a_killed_worker_repeats_nothing(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Kill -9 in mid-stream, start again: a read_committed reader sees no repeat and no loss."""
    await put(kafka, topic_set.frames, many(4_000))
    worker = await workers(topic_set, ready=False, **ONCE)
    async with watcher(kafka, topic_set.group) as watch:

        async def some() -> bool:
            return await watch.count(topic_set.events) >= 300

        await wait_for(some, what="some events")
        worker.kill()
        assert sum((await watch.committed(topic_set.frames)).values()) < 4_000, "killed too late"
    await workers(topic_set, **ONCE)
    await all_committed(kafka, topic_set)
    (await take_account(kafka, topic_set, committed=True)).check()


async def test_workers_join_and_leave(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Two joins and two leaves under load: no repeat, no loss, all in order."""
    async with feed(kafka, topic_set.frames, per_s=400):
        first = await workers(topic_set, **ONCE)
        await published(first, 100)
        second = await workers(topic_set, **ONCE)
        await published(second, 100)
        assert await first.stop() == 0
        third = await workers(topic_set, **ONCE)
        await published(third, 100)
        assert await second.stop() == 0
    await all_committed(kafka, topic_set)
    assert await third.stop() == 0
    (await take_account(kafka, topic_set, committed=True)).check()


@asynccontextmanager
async def _thief(kafka: KafkaSettings, topics: TopicSet, partition: int) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that takes a partition's transactional id from its worker, as a zombie might."""
    async with AIOKafkaProducer(
        **kafka.client_options(), transactional_id=f"{topics.group}-{topics.frames}-{partition}"
    ) as running:
        yield running


async def test_a_fenced_producer_of_a_rightful_owner_comes_back(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Somebody takes the ids of all partitions under load: the worker, still a member, goes on; no repeat."""
    async with feed(kafka, topic_set.frames, per_s=400):
        worker = await workers(topic_set, **ONCE)
        await published(worker, 200)
        for partition in range(4):
            async with _thief(kafka, topic_set, partition):
                pass
        before = (await worker.balance())["published"]
        await published(worker, int(before) + 200)
    await all_committed(kafka, topic_set)
    assert "its producer is replaced" in worker.log()
    assert await worker.stop() == 0
    (await take_account(kafka, topic_set, committed=True)).check()


async def test_what_a_thief_committed_is_not_published_again(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """After a lost producer the committed offset rules: frames below it are not published again."""
    worker = await workers(topic_set, **ONCE)
    await put(kafka, topic_set.frames, many(100, partitions=1))
    await all_committed(kafka, topic_set)
    async with _thief(kafka, topic_set, 0) as thief:
        await thief.begin_transaction()
        offset = {TopicPartition(topic_set.frames, 0): OffsetAndMetadata(150, "")}
        await thief.send_offsets_to_transaction(offset, topic_set.group)
        await thief.commit_transaction()
    await put(kafka, topic_set.frames, many(100, partitions=1))
    await all_committed(kafka, topic_set)
    assert await worker.stop() == 0
    account = await take_account(kafka, topic_set, committed=True)
    seen = {offset for _, offset in account.events.keys() | account.letters.keys()}
    assert seen == {*range(100), *range(150, 200)}
    assert account.repeats == 0


async def test_an_event_that_kafka_refuses_becomes_a_dead_letter(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Events over the topic's limit are dead-lettered one by one; their neighbours are published once."""
    events = f"{topic_set.events}-small"
    await ensure_topics(kafka, [TopicSpec(events, 4, {"max.message.bytes": "4096"})])
    topics = replace(topic_set, events=events)
    worker = await workers(topics, **ONCE)
    image = jpeg()
    keys = [b"c" * 4_000 if n % 10 == 3 else b"c" for n in range(40)]
    await put(kafka, topics.frames, [Put(image, key, partition=0) for key in keys])
    await all_committed(kafka, topics)
    account = await take_account(kafka, topics, committed=True)
    account.check()
    assert set(account.reasons().values()) == {"event_too_large"}
    assert {offset for _, offset in account.letters} == {n for n in range(40) if n % 10 == 3}
    assert await worker.stop() == 0
