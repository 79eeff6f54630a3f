"""Kafka paused, killed and damaged under a working worker; each test harms a broker of its own."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.record.util import calc_crc32c

from riverlens.broker import EmbeddedBroker
from riverlens.kafka import KafkaSettings
from tests.conftest import MakeTopics
from tests.harness.account import all_committed, settled, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

AWAY_S = 30.0
BACK_S = 10.0
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
    """An event that comes true after 30 s: longer than any session and any request."""
    over = asyncio.Event()
    handle = asyncio.get_running_loop().call_later(AWAY_S, over.set)
    yield over
    handle.cancel()


async def _published(worker: Worker, count: float, timeout_s: float = 30.0) -> None:
    """Wait until a worker has published so many events."""

    async def done() -> bool:
        return (await worker.balance())["published"] >= count

    await wait_for(done, what=f"{count} events", timeout_s=timeout_s)


async def test_kafka_paused_under_load(
    broker: EmbeddedBroker,
    kafka: KafkaSettings,
    make_topics: MakeTopics,
    workers: StartWorker,
    away: asyncio.Event,
) -> None:
    """Kafka frozen for 30 s: flat memory, events again within 10 s of its return; nothing lost, in order."""
    topics = await make_topics()
    worker = await workers(topics)
    async with feed(kafka, topics.frames) as feeding:
        await _published(worker, 500)
        size = worker.rss_bytes()
        broker.pause(1)
        await away.wait()
        assert worker.running()
        assert worker.rss_bytes() < size + 50 * MIB
        before = (await worker.balance())["published"]
        broker.resume(1)
        back_s = time.monotonic()
        await _published(worker, before + 1, timeout_s=BACK_S)
        took_s, grown = time.monotonic() - back_s, (worker.peak_rss_bytes() - size) / MIB
        feeding.end()
    await all_committed(kafka, topics)
    assert await worker.stop() == 0
    account = await take_account(kafka, topics)
    print(  # noqa: T201  # the figures
        f"away {AWAY_S:.0f} s, events again {took_s:.1f} s after its return, +{grown:.0f} MiB, "
        f"{account.repeats} repeats of {len(account.frames)} frames"
    )
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


def _batches(raw: bytearray) -> Iterator[tuple[int, int]]:
    """Begin and end of each record batch in a log segment."""
    at = 0
    while at + 12 <= len(raw) and (length := struct.unpack_from(">i", raw, at + 8)[0]):
        yield at, at + 12 + length
        at += 12 + length


def _damage_one_batch(data: Path, partition: str, text: bytes, *, codec: bool) -> None:
    """Make the batch that holds `text` unreadable: an unknown codec in its header, or a wrong checksum."""
    (log,) = data.rglob(f"{partition}/00000000000000000000.log")
    raw = bytearray(log.read_bytes())
    begin, end = next((b, e) for b, e in _batches(raw) if text in raw[b:e])
    if codec:
        raw[begin + 22] |= 0x07
        struct.pack_into(">I", raw, begin + 17, calc_crc32c(bytes(raw[begin + 21 : end])))
    else:
        raw[end - 1] ^= 0x01
    log.write_bytes(bytes(raw))


async def test_damaged_batches_among_busy_partitions(
    broker: EmbeddedBroker,
    own_data: Path,
    kafka: KafkaSettings,
    make_topics: MakeTopics,
    workers: StartWorker,
) -> None:
    """A wrong checksum and an unknown codec on the broker's disk: no frame of other batches is touched."""
    topics = await make_topics(partitions=12)
    good = [Put(jpeg(), b"c", partition=n % 12) for n in range(1_200)]
    await put(kafka, topics.frames, good)
    for partition in (1, 5):
        marked = [Put(b"damage me" if n == 2 else jpeg(), partition=partition) for n in range(4)]
        await put(kafka, topics.frames, marked)
    await put(kafka, topics.frames, good)
    await asyncio.to_thread(broker.stop, 1)
    _damage_one_batch(own_data, f"{topics.frames}-1", b"damage me", codec=False)
    _damage_one_batch(own_data, f"{topics.frames}-5", b"damage me", codec=True)
    await asyncio.to_thread(broker.start, 1)
    worker = await workers(topics)
    account = await settled(kafka, topics, 2_408, frames=False, timeout_s=60)
    account.check()
    assert set(account.reasons()) == {(p, offset) for p in (1, 5) for offset in range(100, 104)}
    assert set(account.reasons().values()) == {"unreadable"}
    assert await worker.stop() == 0
