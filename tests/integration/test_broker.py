"""The embedded broker is a real Kafka: it starts, keeps its data, survives faults and ends with us."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from riverlens.broker import EmbeddedBroker
from riverlens.broker.ports import LOOPBACK, free_ports, is_free
from riverlens.errors import SetupError
from riverlens.frame import MAX_FRAME_BYTES
from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics
from tests.conftest import TopicSet


async def _produce(bootstrap_servers: str, topic: str, values: Sequence[bytes], **options: object) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True, **options
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"lobby", partition=0)


async def _consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values of partition 0."""
    values: list[bytes] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    ) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(60):
            while len(values) < count:
                values.append((await consumer.getone()).value)
    return values


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_goes_round(broker: EmbeddedBroker, topic_set: TopicSet, codec: str | None) -> None:
    """Frames compressed by any producer are read; a missing codec library would read nothing."""
    values = [b"frame" * 1000, os.urandom(1000)]
    await _produce(broker.bootstrap_servers, topic_set.frames, values, compression_type=codec)
    assert await _consume(broker.bootstrap_servers, topic_set.frames, 2) == values


async def test_the_largest_frame_fits_and_so_does_its_dead_letter(
    broker: EmbeddedBroker, topic_set: TopicSet
) -> None:
    """8 MiB and 64 KiB less a record's own overhead fit on frames; frames.dlq takes still more headers."""
    largest = [bytes(MAX_FRAME_BYTES + 60_000)]
    room = MAX_FRAME_BYTES * 2
    await _produce(broker.bootstrap_servers, topic_set.frames, largest, max_request_size=room)
    dead_letter = [largest[0] + bytes(60_000)]
    await _produce(broker.bootstrap_servers, topic_set.dlq, dead_letter, max_request_size=room)


async def test_a_group_and_a_transaction_work_at_once(broker: EmbeddedBroker, topic_set: TopicSet) -> None:
    """Ready means that both coordinators answer: a first commit within a transaction needs no waiting."""
    async with (
        AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, transactional_id=f"{topic_set.group}-tx"
        ) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(topic_set.events, b"event", key=b"lobby", partition=0)
        offsets = {TopicPartition(topic_set.frames, 0): 7}
        await producer.send_offsets_to_transaction(offsets, topic_set.group)
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, group_id=topic_set.group, enable_auto_commit=False
    ) as consumer:
        # The commit is acknowledged before its offsets can be seen, and aiokafka cannot ask for stable ones.
        async with asyncio.timeout(60):
            while await consumer.committed(TopicPartition(topic_set.frames, 0)) != 7:
                pass


async def test_two_brokers_run_beside_each_other_and_leave_nothing(broker: EmbeddedBroker) -> None:
    """A second broker has its own ports and folder; after its block ports and folder are free again."""
    async with EmbeddedBroker() as second:
        assert second.bootstrap_servers != broker.bootstrap_servers
        port = int(second.bootstrap_servers.split(":")[1])
        folder = second.log(1).parents[1]
        assert folder.is_dir()
    assert is_free(port)
    assert not folder.exists()


async def test_a_taken_port_is_named() -> None:
    """A fixed port that is in use fails at once, with the port and the flag."""
    (port,) = free_ports(1)
    server = await asyncio.start_server(lambda *_: None, LOOPBACK, port)
    async with server:
        with pytest.raises(SetupError, match=rf"port {port} on 127.0.0.1 is in use.*--port"):
            async with EmbeddedBroker(port=port):
                pytest.fail("it started")


async def test_a_refused_property_shows_kafkas_own_words() -> None:
    """A property that Kafka does not take is named by the reason that Kafka gives."""
    with pytest.raises(SetupError, match=r"could not format .*num\.io\.threads: Value must be at least 1"):
        async with EmbeddedBroker(properties={"num.io.threads": "0"}):
            pytest.fail("it started")


async def test_a_broker_that_ends_while_it_starts_shows_its_log(tmp_path: Path) -> None:
    """A login listener without users: the error has the end of Kafka's log and where the whole of it is."""
    with pytest.raises(SetupError, match=r"(?s)broker 1 ended while it started.*kafka\.log.*JAAS"):
        async with EmbeddedBroker(listeners=("SASL_PLAINTEXT",), data_dir=tmp_path):
            pytest.fail("Kafka started without users for its login")


async def test_data_outlives_a_restart(tmp_path: Path) -> None:
    """With a data folder topics and records are there again, on another port; so they are after kill -9."""
    kept = EmbeddedBroker(data_dir=tmp_path)
    async with kept:
        await ensure_topics(KafkaSettings(bootstrap_servers=kept.bootstrap_servers), [TopicSpec("kept", 1)])
        await _produce(kept.bootstrap_servers, "kept", [b"1", b"2"])
        await asyncio.to_thread(kept.kill, 1)
        await asyncio.to_thread(kept.start, 1)
        await _produce(kept.bootstrap_servers, "kept", [b"3"])
    async with EmbeddedBroker(data_dir=tmp_path) as again:
        assert await _consume(again.bootstrap_servers, "kept", 3) == [b"1", b"2", b"3"]


def _start_command(*flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "riverlens", "broker", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_prints_its_address_and_stops_cleanly() -> None:
    """`riverlens broker` prints host:port, ends on SIGTERM with exit code 0 and frees its port."""
    (port,) = free_ports(1)
    with _start_command("--port", str(port)) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == f"127.0.0.1:{port}\n"
        assert not is_free(port)
        command.send_signal(signal.SIGTERM)
        _, log = command.communicate(timeout=60)
    assert command.returncode == 0
    assert "Kafka has stopped" in log
    assert is_free(port)


def test_the_broker_dies_with_a_killed_parent() -> None:
    """Kill -9 of the command ends Kafka too, and its temporary folder goes."""
    with _start_command("--port=0") as command:
        assert command.stdout is not None
        port = int(command.stdout.readline().split(":")[1])
        (java,) = _kafka_on(port)
        gone = os.pidfd_open(java)
        folder = Path(_command_line(java)[-1]).parents[1]
        command.kill()
        assert select.select([gone], [], [], 60)[0], "Kafka outlived its parent by a minute"
        os.close(gone)
    assert is_free(port)
    _wait_until_removed(folder)


def _wait_until_removed(folder: Path) -> None:
    """Removal follows the end of Kafka; the test's own timeout bounds it."""
    while folder.exists():
        os.sched_yield()


def _command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")


def _kafka_on(port: int) -> list[int]:
    """Processes of Kafka whose server.properties name this port."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = _command_line(int(entry.name))
            if "kafka.Kafka" in words and "guard" not in " ".join(words[:5]):
                properties = Path(words[-1]).read_text(encoding="latin-1")
                if f"PLAINTEXT://127.0.0.1:{port}," in properties:
                    found.append(int(entry.name))
        except OSError:  # ended meanwhile
            continue
    return found
