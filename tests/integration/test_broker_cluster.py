"""A cluster of three brokers goes on when one of them is killed, paused or away."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from riverlens.broker import BrokerSecurity, EmbeddedBroker
from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from tests.harness.cluster import leader_of, wait_in_sync
from tests.harness.topics import Put, put, read_all
from tests.harness.waiting import wait_for


@pytest.fixture(scope="module")
def three() -> Iterator[EmbeddedBroker]:
    """Three brokers with logins; each test brings back the nodes that it harms."""
    with EmbeddedBroker(brokers=3, security=BrokerSecurity(users={"camera": "red"})) as running:
        yield running


@pytest.mark.chaos
async def test_three_brokers_lose_nothing_with_one_of_them(three: EmbeddedBroker) -> None:
    """After kill -9 of a node acks=all still succeeds, a SIGSTOP does no harm, and the node comes back."""
    kafka = KafkaSettings(bootstrap_servers=three.bootstrap_servers)
    (report,) = await ensure_topics(kafka, [TopicSpec("safe", 3)])
    assert (report.created, report.replication) == (True, 3)
    await put(kafka, "safe", [Put(b"1", partition=0)])
    await asyncio.to_thread(three.kill, 1)
    assert three.running == [2, 3]
    await put(kafka, "safe", [Put(b"2", partition=0)])
    await asyncio.to_thread(three.start, 1)
    await wait_in_sync(kafka)
    three.pause(2)
    # A paused leader answers nothing: the client must give up on it before it looks for the new one.
    await put(kafka, "safe", [Put(b"3", partition=0)], request_timeout_ms=2000)
    three.resume(2)
    await wait_in_sync(kafka)
    assert [record.value for record in await read_all(kafka, "safe")] == [b"1", b"2", b"3"]


class _Pace:
    """The longest time between two steps of something that should never stop."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._last_s: float | None = None

    def step(self) -> None:
        """It has gone on."""
        now_s = time.monotonic()
        if self._last_s is not None:
            self.longest_s = max(self.longest_s, now_s - self._last_s)
        self._last_s, self.count = now_s, self.count + 1


class _Streams:
    """One plain and one transactional producer, and a reader of committed records, of partition 0 each."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self.ended, self.written = asyncio.Event(), asyncio.Event()
        self.paces = {"plain": _Pace(), "transactions": _Pace(), "read_committed": _Pace()}
        self.read: list[int] = []

    async def plain(self) -> None:
        """acks=all, idempotent, one record after the other."""
        options = {"acks": "all", "enable_idempotence": True}
        async with AIOKafkaProducer(**self._kafka.client_options(), **options) as producer:
            while not self.ended.is_set():
                await producer.send_and_wait("plain", b"x", partition=0)
                self.paces["plain"].step()

    async def transactions(self) -> None:
        """One record and one offset a transaction."""
        async with AIOKafkaProducer(**self._kafka.client_options(), transactional_id="g-plain-0") as producer:
            while not self.ended.is_set():
                pace = self.paces["transactions"]
                async with producer.transaction():
                    await producer.send_and_wait("whole", b"%d" % pace.count, partition=0)
                    await producer.send_offsets_to_transaction({TopicPartition("plain", 0): pace.count}, "g")
                pace.step()
        self.written.set()

    async def reader(self) -> None:
        """Until all that was committed is read."""
        async with AIOKafkaConsumer(
            **self._kafka.client_options(), isolation_level="read_committed", auto_offset_reset="earliest"
        ) as consumer:
            consumer.assign([TopicPartition("whole", 0)])
            while not self.written.is_set() or len(self.read) < self.paces["transactions"].count:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    self.read += [int(record.value) for record in records]
                    self.paces["read_committed"].step()

    async def further(self, count: int) -> None:
        """Wait until each has taken `count` more steps."""
        goals = {name: pace.count + count for name, pace in self.paces.items()}

        async def there() -> bool:
            return all(self.paces[name].count >= goal for name, goal in goals.items())

        await wait_for(there, what=f"all streams go on: {goals}")


async def test_a_killed_leader_stops_nothing_for_long(
    three: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill -9 of the node that leads all: aiokafka's producers, transactions too, and readers go on.

    Nothing is lost or repeated and no call raises, with a login over the secured port. Prints the stalls.
    """
    kafka = KafkaSettings(
        bootstrap_servers=three.bootstrap_for("SASL_PLAINTEXT"),
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="camera",
        sasl_password=SecretStr("red"),
    )
    await ensure_topics(kafka, [TopicSpec("plain", 1), TopicSpec("whole", 1)])
    await wait_in_sync(kafka)
    streams = _Streams(kafka)
    async with asyncio.timeout(150), asyncio.TaskGroup() as group:
        for stream in (streams.plain, streams.transactions, streams.reader):
            group.create_task(stream())
        await streams.further(20)
        killed = await leader_of(kafka, "whole", 0)
        await asyncio.to_thread(three.kill, killed)
        await streams.further(20)
        await asyncio.to_thread(three.start, killed)
        await streams.further(20)
        streams.ended.set()
    assert streams.read == list(range(streams.paces["transactions"].count))
    stalls = {name: pace.longest_s for name, pace in streams.paces.items()}
    told = ", ".join(f"{name} {stall_s:.1f} s" for name, stall_s in stalls.items())
    with capsys.disabled():
        sys.stdout.write(f"\nkill -9 of the leader, longest stall: {told}\n")
    # 3 s until the controller misses the node, an election, and clients that look for the new leader. One
    # that sits out a request's timeout stands still for 40 s.
    assert max(stalls.values()) < 35
    await wait_in_sync(kafka)
