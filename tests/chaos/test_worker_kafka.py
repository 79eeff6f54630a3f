"""Kafka paused, killed and damaged under a working worker; each test harms a broker of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from riverlens.broker import EmbeddedBroker
from riverlens.kafka import KafkaSettings
from tests.conftest import MakeTopics
from tests.harness.account import settled, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put, watcher
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

AWAY_S = 15.0
MIB = 1024 * 1024


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Where the broker of this test keeps its data."""
    return tmp_path / "kafka"


@pytest.fixture
def broker(own_data: Path) -> Iterator[EmbeddedBroker]:
    """A broker of this test's own, in place of the session's."""
    own_data.mkdir()
    with EmbeddedBroker(data_dir=own_data) as running:
        yield running


@pytest.fixture
async def away() -> AsyncIterator[asyncio.Event]:
    """An event that comes true after 15 s: longer than any session and any request."""
    over = asyncio.Event()
    handle = asyncio.get_running_loop().call_later(AWAY_S, over.set)
    yield over
    handle.cancel()


async def test_kafka_paused_under_load(
    broker: EmbeddedBroker,
    kafka: KafkaSettings,
    make_topics: MakeTopics,
    workers: StartWorker,
    away: asyncio.Event,
) -> None:
    """Kafka frozen for 15 s: the worker waits with flat memory, then goes on; nothing lost, all in order."""
    topics = await make_topics()
    worker = await workers(topics)
    async with feed(kafka, topics.frames) as feeding:

        async def flowing() -> bool:
            return (await worker.balance())["published"] > 500

        await wait_for(flowing, what="events flow")
        size = worker.rss_bytes()
        broker.pause(1)
        await away.wait()
        assert worker.running()
        assert worker.rss_bytes() < size + 50 * MIB
        before = (await worker.balance())["published"]
        broker.resume(1)

        async def again() -> bool:
            return (await worker.balance())["published"] > before + 500

        await wait_for(again, what="events flow again", timeout_s=30)
        feeding.end()
    async with watcher(kafka, topics.group) as watch:

        async def committed() -> bool:
            return await watch.committed(topics.frames) == await watch.ends(topics.frames)

        await wait_for(committed, what="every frame is committed", timeout_s=60)
    assert await worker.stop() == 0
    account = await take_account(kafka, topics)
    account.check(repeats=None)
    assert not account.letters


async def test_kafka_killed_and_started_again(
    broker: EmbeddedBroker, kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """Kill -9 of the only broker in mid-stream and a restart: the same worker goes on, nothing lost."""
    topics = await make_topics()
    await put(kafka, topics.frames, [Put(jpeg(), b"c", partition=n % 4) for n in range(4_000)])
    worker = await workers(topics)
    await asyncio.to_thread(broker.kill, 1)
    await asyncio.to_thread(broker.start, 1)
    account = await settled(kafka, topics, 4_000, timeout_s=60)
    account = await take_account(kafka, topics)
    account.check(repeats=None)
    assert not account.letters
    await worker.balance()
    assert await worker.stop() == 0


async def test_a_stop_without_kafka_keeps_its_deadline(
    broker: EmbeddedBroker, kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """With Kafka gone, SIGTERM still ends the worker, with 0, within drain and close deadlines."""
    topics = await make_topics()
    worker = await workers(topics)
    async with feed(kafka, topics.frames) as feeding:

        async def flowing() -> bool:
            return (await worker.balance())["published"] > 200

        await wait_for(flowing, what="events flow")
        feeding.end()
    broker.pause(1)
    async with asyncio.timeout(12):
        assert await worker.stop() == 0
    broker.resume(1)


def _damage_one_batch(data: Path, partition: str, text: bytes) -> None:
    """Flip a bit in the value that holds `text`; the batch's checksum is wrong from then on."""
    (log,) = data.rglob(f"{partition}/00000000000000000000.log")
    raw = bytearray(log.read_bytes())
    raw[raw.index(text)] ^= 0x01
    log.write_bytes(bytes(raw))


async def test_a_batch_with_a_wrong_checksum(
    broker: EmbeddedBroker,
    own_data: Path,
    kafka: KafkaSettings,
    make_topics: MakeTopics,
    workers: StartWorker,
) -> None:
    """A damaged batch on the broker's disk: its offsets become dead letters, no other frame is touched."""
    topics = await make_topics()
    good = [Put(jpeg(), b"c", partition=n % 4) for n in range(400)]
    await put(kafka, topics.frames, good)
    await put(kafka, topics.frames, [Put(b"damage me" if n == 2 else jpeg(), partition=1) for n in range(4)])
    await put(kafka, topics.frames, good)
    await asyncio.to_thread(broker.stop, 1)
    _damage_one_batch(own_data, f"{topics.frames}-1", b"damage me")
    await asyncio.to_thread(broker.start, 1)
    worker = await workers(topics)
    account = await settled(kafka, topics, 804, frames=False)
    account.check()
    assert set(account.reasons()) == {(1, offset) for offset in range(100, 104)}
    assert set(account.reasons().values()) == {"unreadable"}
    assert await worker.stop() == 0
