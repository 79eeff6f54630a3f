"""`riverlens worker check` against a real Kafka and a real model server."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from riverlens.broker.ports import free_ports
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings
from riverlens_worker.check.finding import Level, exit_code
from riverlens_worker.check.run import check
from tests import model_servers
from tests.conftest import MakeTopics, TopicSet
from tests.harness.check_help import check_settings, not_good, only
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for

KIB = 1024


async def _command(*argv: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverlens", "worker", "check", *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")},
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_where_all_is_well_the_command_says_so(topic_set: TopicSet, server: str) -> None:
    """Sound topics and a sound server: exit code 0, aligned good lines, nothing on standard error."""
    kafka = topic_set.settings.kafka
    await put(kafka, topic_set.frames, [Put(jpeg(), partition=n) for n in range(4)])
    flags = [
        f"--bootstrap-servers={kafka.bootstrap_servers}", f"--server={server}", "--model=colour",
        f"--frames-topic={topic_set.frames}", f"--events-topic={topic_set.events}",
        f"--dlq-topic={topic_set.dlq}", f"--group-id={topic_set.group}", "--admin-port=0", "--labels=coco",
        "--delivery=exactly-once",
    ]  # fmt: skip
    code, printed, complaints = await _command(*flags)
    print(printed)  # noqa: T201  # the lines are wanted: pytest -s
    assert (code, complaints) == (0, ""), printed + complaints
    lines = printed.splitlines()
    assert all(line.startswith("good  ") for line in lines[:-1]), printed
    assert lines[-1] == f"{len(lines) - 1} good, 0 warning, 0 bad"
    told = " ".join(printed.split())
    for words in (
        f"{topic_set.frames} and {topic_set.events} have 4 each",
        "4 frames stand there",
        "known to",
        "version 1 AVAILABLE",
        "signature serving_default takes inputs: uint8 pixels",
        "together they are answered as alone",
        "isolation_level=read_committed",
        f"ids {topic_set.group}-{topic_set.frames}-... may be used",
    ):
        assert words in told, printed


async def test_machines_read_json_and_the_exit_code(kafka: KafkaSettings) -> None:
    """`--format json` with nothing there: JSON with counts, each bad finding with a remedy, exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, printed, _ = await _command(
            "--format=json", f"--bootstrap-servers={kafka.bootstrap_servers}", "--server=127.0.0.1:1",
            "--frames-topic=absent", f"--admin-port={port}",
        )  # fmt: skip
    body = json.loads(printed)
    bad = {each["what"]: each["remedy"] for each in body["findings"] if each["level"] == "bad"}
    assert code == 1
    assert body["count"]["bad"] == len(bad)
    assert "riverlens topics" in bad["topic absent"]
    assert "--frames-topic absent" in bad["topic absent"]
    assert bad[f"admin port 127.0.0.1:{port}"] == "--admin-port 0 for any free one, or end what has it"
    assert "server" in bad["model server 127.0.0.1:1"]


async def test_the_remedy_for_missing_topics_mends_them(kafka: KafkaSettings, server: str) -> None:
    """The command that the check names makes the topics; the check then has nothing against them."""
    stem = f"c{secrets.token_hex(4)}"
    made = TopicsSettings(
        kafka=kafka, frames_topic=f"{stem}-f", events_topic=f"{stem}-e", dlq_topic=f"{stem}-d"
    )
    topics = TopicSet(made.frames_topic, made.events_topic, made.dlq_topic, f"{stem}-g", made)
    settings = check_settings(kafka, topics, server)
    before = await check(settings)
    remedy = only(before, f"topic {topics.frames}", Level.BAD).remedy
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *remedy.split())
    assert await process.wait() == 0
    after = await check(settings)
    assert not_good(after) == []


async def test_topics_that_do_not_fit_are_told(
    kafka: KafkaSettings, make_topics: MakeTopics, server: str
) -> None:
    """Other partitions, small limits, short retention and compaction: each its line and its command."""
    topics = await make_topics(partitions=4, max_frame_bytes=100 * KIB, retention_minutes=1)
    fewer = await make_topics(partitions=2)
    mixed = TopicSet(topics.frames, fewer.events, topics.dlq, topics.group, topics.settings)
    findings = await check(check_settings(kafka, mixed, server))
    assert "has 4" in only(findings, "partitions", Level.WARNING).found
    assert "max.message.bytes" in only(findings, f"sizes on {topics.frames}", Level.WARNING).remedy
    assert "60 s" in only(findings, f"retention of {topics.frames}", Level.WARNING).found
    small = TopicSet(fewer.frames, topics.events, topics.dlq, topics.group, topics.settings)
    findings = await check(check_settings(kafka, small, server))
    assert "lose their image" in only(findings, f"sizes on {topics.dlq}", Level.BAD).found
    assert exit_code(findings) == 1


async def test_kafka_away_leaves_the_model_server_to_look_at(topic_set: TopicSet, server: str) -> None:
    """Without Kafka the model server is checked all the same, and Kafka is one bad line."""
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    findings = await check(check_settings(away, topic_set, server))
    (bad,) = not_good(findings)
    assert (bad.what, "riverlens broker" in bad.remedy) == ("Kafka 127.0.0.1:1", True)
    assert any(each.what == "two images" for each in findings)


async def test_a_model_that_is_not_there_is_told(
    kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """A wrong name and a server that is away are bad, with the setting; one of two away is a warning."""
    findings = await check(check_settings(kafka, topic_set, server, model="typo"))
    assert "setting model" in only(findings, f"model server {server}", Level.BAD).remedy
    (port,) = free_ports(1)
    findings = await check(check_settings(kafka, topic_set, f"{server},127.0.0.1:{port}"))
    (odd,) = not_good(findings)
    assert (odd.level, odd.what) == (Level.WARNING, f"model server 127.0.0.1:{port}")
    findings = await check(check_settings(kafka, topic_set, server, signature="typo"))
    assert "typo" in only(findings, f"model server {server}", Level.BAD).found


async def test_a_model_without_labels_is_a_warning(
    kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """A detector that names no classes is a warning with the setting, and nothing else is wrong."""
    (odd,) = not_good(await check(check_settings(kafka, topic_set, server, labels=None)))
    assert (odd.level, odd.what) == (Level.WARNING, "labels")
    assert "--labels" in odd.remedy


async def test_the_servers_batch_limit_is_found(
    kafka: KafkaSettings, topic_set: TopicSet, colour_model: Path, tmp_path: Path
) -> None:
    """A server that batches at most 4 rows: a warning with the limit, and the batching file's trap is bad."""
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 4 }\nnum_batch_threads { value: 1 }\n")
    flags = (
        "--model_name=colour", f"--model_base_path={colour_model}", "--enable_batching",
        f"--batching_parameters_file={batching}",
    )  # fmt: skip
    with model_servers.model_server(tmp_path / "batching.log", *flags) as own:
        settings = check_settings(
            kafka, topic_set, own.address, max_batch_size=8, batching_file=str(batching)
        )
        findings = await check(settings)
    assert "--max-batch-size 4" in only(findings, "batch of 8", Level.WARNING).remedy
    assert str(batching) in only(findings, "batching file", Level.BAD).remedy


async def test_lost_frames_and_wrong_clocks_are_told(
    kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """Frames that were removed unread, and frames from the future, are warnings with their figures."""
    ahead_ms = int(time.time() * 1000) + 1_800_000
    records = [Put(jpeg(), partition=0, timestamp_ms=ahead_ms) for _ in range(5)]
    await put(kafka, topic_set.frames, records)
    tp = TopicPartition(topic_set.frames, 0)
    async with AIOKafkaConsumer(
        **kafka.client_options(), group_id=topic_set.group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([tp])
        await consumer.commit({tp: 1})
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        await admin.delete_records({tp: RecordsToDelete(before_offset=3)})
    finally:
        await admin.close()
    findings = await check(check_settings(kafka, topic_set, server))
    assert "2 frames" in only(findings, f"lost on {topic_set.frames}", Level.WARNING).found
    assert "2 frames to read" in only(findings, f"lag on {topic_set.frames}", Level.GOOD).found
    assert "from now" in only(findings, "capture times", Level.WARNING).found
    assert "known to" in only(findings, "clock", Level.GOOD).found


@asynccontextmanager
async def _member(kafka: KafkaSettings, topics: TopicSet) -> AsyncIterator[AIOKafkaConsumer]:
    """A plain consumer in the worker's group, with its partitions."""
    async with AIOKafkaConsumer(
        topics.frames, **kafka.client_options(), group_id=topics.group, enable_auto_commit=False
    ) as consumer:

        async def assigned() -> bool:
            return len(consumer.assignment()) == 4

        await wait_for(assigned, what="the member has its partitions")
        yield consumer


async def test_mixed_delivery_is_told_and_nobody_is_disturbed(
    kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """Members of the other mode are told of, both ways; the check rebalances nothing."""
    async with _member(kafka, topic_set) as consumer:
        # White box: aiokafka has no public look at its generation.
        before = consumer._coordinator.generation
        findings = await check(check_settings(kafka, topic_set, server, delivery="exactly-once"))
        assert "1 members" in only(findings, "delivery", Level.BAD).found
        name = f"{topic_set.group}-{topic_set.frames}-0"
        async with AIOKafkaProducer(**kafka.client_options(), transactional_id=name):
            findings = await check(check_settings(kafka, topic_set, server))
        assert "must not be mixed" in only(findings, "delivery", Level.WARNING).found
        assert "1 in it now" in only(findings, f"group {topic_set.group}", Level.GOOD).found
        assert consumer._coordinator.generation == before


async def test_a_session_timeout_that_the_brokers_refuse_is_told(
    kafka: KafkaSettings, topic_set: TopicSet, server: str
) -> None:
    """A session timeout below the brokers' bound is bad, with both bounds and the setting."""
    settings = check_settings(kafka, topic_set, server, session_timeout_ms=3_000)
    bad = only(await check(settings), f"group {topic_set.group}", Level.BAD)
    assert "6000 to 1800000" in bad.found
    assert bad.remedy == "--session-timeout-ms 6000"
