"""What faults may cost: repeats with the same event id, and nothing else. Long forms: tests/chaos."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from tests import model_servers
from tests.conftest import MakeTopics, TopicSet
from tests.harness.account import settled, take_account
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, Watcher, put, put_unreadable, watcher
from tests.harness.waiting import wait_for

FRAMES = 3_000
ENDS_WITHIN_S = 30.0


def many(count: int = FRAMES, partitions: int = 4) -> list[Put]:
    """Frames of as many cameras as partitions, evenly over them."""
    image = jpeg()
    return [Put(image, b"cam-%d" % (n % partitions), partition=n % partitions) for n in range(count)]


async def events_reach(watch: Watcher, topics: TopicSet, count: int) -> None:
    """Wait until `count` events and dead letters lie on their topics."""

    async def done() -> bool:
        return await watch.count(topics.events, topics.dlq) >= count

    await wait_for(done, what=f"{count} outcomes")


async def test_a_killed_worker_loses_nothing(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Kill -9 in mid-stream, start again: each frame has its event, repeats have equal ids, all in order."""
    await put(kafka, topic_set.frames, many())
    async with watcher(kafka, topic_set.group) as watch:
        worker = await workers(topic_set, ready=False)
        await events_reach(watch, topic_set, 200)
        worker.kill()
        assert await watch.count(topic_set.events) < FRAMES, "killed too late to show anything"
        again = await workers(topic_set)
        account = await settled(kafka, topic_set, FRAMES)

        async def committed() -> bool:
            return await watch.committed(topic_set.frames) == await watch.ends(topic_set.frames)

        await wait_for(committed, what="everything is committed")
        account = await take_account(kafka, topic_set)
    account.check(repeats=None)
    assert await again.stop() == 0


async def test_a_stopped_worker_commits_what_it_published(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """SIGTERM under load ends with 0 in time; committed is what was published, no more."""
    await put(kafka, topic_set.frames, many())
    async with watcher(kafka, topic_set.group) as watch:
        worker = await workers(topic_set, ready=False)
        await events_reach(watch, topic_set, 200)
        asked_s = time.monotonic()
        assert await worker.stop() == 0
        assert time.monotonic() - asked_s < ENDS_WITHIN_S
        published = await watch.count(topic_set.events)
        assert published < FRAMES, "stopped too late to show anything"
        assert await watch.committed(topic_set.frames) == await watch.ends(topic_set.events)
    await workers(topic_set)
    (await settled(kafka, topic_set, FRAMES)).check()


async def test_a_worker_stops_in_time_without_its_model_server(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """With calls that cannot end, SIGTERM still ends with 0 in time, nothing dead-lettered."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address, drain_timeout_ms=500)
        own.process.send_signal(signal.SIGSTOP)
        try:
            await put(kafka, topic_set.frames, many(100))

            async def taken() -> bool:
                return (await worker.balance())["in_flight"] == 100

            await wait_for(taken, what="the frames are in the worker")
            asked_s = time.monotonic()
            assert await worker.stop() == 0
            assert time.monotonic() - asked_s < ENDS_WITHIN_S
        finally:
            own.process.kill()
    assert not (await take_account(kafka, topic_set)).letters
    await workers(topic_set)
    (await settled(kafka, topic_set, 100)).check()


async def test_a_killed_model_server_costs_no_frame(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """The model server killed in mid-stream and started again: no dead letter, no repeat, all in order."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "first.log", *flags) as first:
        port = first.address.rsplit(":", 1)[1]
        worker = await workers(topic_set, server=first.address)
        await put(kafka, topic_set.frames, many())
        async with watcher(kafka, topic_set.group) as watch:
            await events_reach(watch, topic_set, 200)
            await asyncio.to_thread(_kill, first)
            assert await watch.count(topic_set.events) < FRAMES, "killed too late to show anything"

        async def told() -> bool:
            return "waiting for the model server" in (await worker.get("/readyz"))[1]

        await wait_for(told, what="/readyz says that it waits")
    with model_servers.model_server(tmp_path / "second.log", f"--port={port}", *flags):
        account = await settled(kafka, topic_set, FRAMES)
        account.check()
        assert not account.letters
        await worker.balance()
        assert await worker.stop() == 0


def _kill(server: model_servers.RunningServer) -> None:
    server.process.kill()
    server.process.wait()


async def test_two_workers_share_and_hand_over(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """A second worker joins under load, the first leaves: nothing lost or out of order, both did work."""
    async with watcher(kafka, topic_set.group) as watch:
        first = await workers(topic_set)
        await put(kafka, topic_set.frames, many())
        await events_reach(watch, topic_set, 200)
        second = await workers(topic_set)

        async def shared() -> bool:
            return (await second.metrics())["riverlens_partitions"] == 2

        await wait_for(shared, what="the partitions are shared")
        await put(kafka, topic_set.frames, many())
        await events_reach(watch, topic_set, FRAMES + 400)
        counts = await first.balance()
        assert await first.stop() == 0
        await events_reach(watch, topic_set, 2 * FRAMES)
        assert (await second.balance())["published"] > 0
        assert counts["published"] > 0
        assert await second.stop() == 0
        assert await watch.committed(topic_set.frames) == await watch.ends(topic_set.frames)
    (await take_account(kafka, topic_set)).check(repeats=None)


async def test_an_unreadable_record_costs_its_neighbours_nothing(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """A record that cannot be parsed, among busy partitions: a dead letter, and none of theirs is lost.

    What lies behind it in its record batch cannot be parsed either, and becomes dead letters likewise.
    """
    topics = await make_topics(partitions=6)
    # One as the very first record, where nothing was ever committed, and one in the middle.
    await put_unreadable(kafka, topics.frames, 2, [Put(jpeg())], bad=0)
    await put(kafka, topics.frames, many(600, partitions=6))
    await put_unreadable(kafka, topics.frames, 4, [Put(jpeg()) for _ in range(5)], bad=3)
    await put(kafka, topics.frames, many(600, partitions=6))
    worker = await workers(topics)
    account = await settled(kafka, topics, 1_206, frames=False)
    account.check()
    assert account.reasons() == {(2, 0): "unreadable", (4, 103): "unreadable", (4, 104): "unreadable"}
    assert all(letter.value == b"" for letter in account.letters.values())
    counts = await worker.at_rest()
    assert (counts["consumed"], counts["dead_lettered"]) == (1_206, 3)


async def _events_topic(kafka: KafkaSettings, topics: TopicSet, **configs: str) -> TopicSet:
    """The same topics with an events topic of other settings."""
    name = f"{topics.events}-special"
    await ensure_topics(kafka, [TopicSpec(name, 4, {n.replace("_", "."): v for n, v in configs.items()})])
    return TopicSet(topics.frames, name, topics.dlq, topics.group, topics.settings)


async def test_an_event_too_large_is_set_aside(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Events that Kafka refuses for their size become dead letters; all others arrive once, in order."""
    topics = await _events_topic(kafka, topic_set, max_message_bytes="65536")
    frames = many(400)
    # The first of its partition among them: there Kafka takes any sequence number that comes next.
    guilty = (0, 1, 101, 250)
    for number in guilty:
        frames[number] = Put(jpeg(), b"cam", [("frame-id", b"x" * 70_000)], partition=number % 4)
    await put(kafka, topics.frames, frames)
    worker = await workers(topics)
    account = await settled(kafka, topics, 400)
    account.check()
    assert set(account.reasons().values()) == {"event_too_large"}
    assert sorted(account.letters) == sorted((number % 4, number // 4) for number in guilty)
    assert all(letter.value == jpeg() for letter in account.letters.values())
    await worker.balance()
    assert await worker.stop() == 0


async def test_events_that_kafka_rejects_are_set_aside(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Where Kafka rejects events for their timestamp, each frame still has exactly one outcome."""
    topics = await _events_topic(kafka, topic_set, message_timestamp_before_max_ms="0")
    worker = await workers(topics)
    # An event written and received within the same millisecond passes: at times all of a call do.
    for sent in range(24, 24 * 20, 24):
        await put(kafka, topics.frames, many(24))
        account = await settled(kafka, topics, sent)
        account.check()
        if account.letters:
            break
    assert set(account.reasons().values()) == {"event_rejected"}
    assert await worker.stop() == 0
