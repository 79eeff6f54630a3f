"""A missing right is named, with the command that grants it, by every role."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from riverlens.errors import UnreachableError
from riverlens.frame import Frame
from riverlens.frame_producer import FrameProducer
from riverlens.kafka import KafkaSettings, connect
from riverlens.topics import ensure_topics, topic_specs
from tests.conftest import TopicSet
from tests.harness.images import jpeg
from tests.harness.security import Acl, Operation, Resource, SecuredKafka, config_file, worker_rights
from tests.harness.topics import Put, put
from tests.harness.worker import running, start_worker

LONGEST_S = 60.0

MISSING: dict[str, tuple[Resource, Operation, dict[str, Any], str]] = {
    "see frames": (Resource.TOPIC, Operation.READ, {}, r"use topic '\S+-frames'.* --topic \S+-frames$"),
    "write events": (Resource.TOPIC, Operation.WRITE, {}, r"use topic '\S+-events'.* --topic \S+-events$"),
    "group": (Resource.GROUP, Operation.READ, {}, r"consumer group '\S+-group' .* --group \S+-group$"),
    "transactions": (
        Resource.TRANSACTIONAL_ID,
        Operation.WRITE,
        {"delivery": "exactly-once"},
        r"transactional id '\S+-group-\S+-frames-\d'.*--transactional-id \S+-frames- .* prefixed$",
    ),
}


@pytest.mark.parametrize("missing", MISSING)
async def test_a_worker_without_a_right_names_it(
    secured: SecuredKafka, secured_topics: TopicSet, server: str, tmp_path: Path, missing: str
) -> None:
    """Each right that a worker needs: without it one line says which, and the command that grants it."""
    resource, operation, settings, told = MISSING[missing]
    rights = worker_rights(secured_topics)
    gone = next(each for each in rights if (each.resource, each.operation) == (resource, operation))
    await secured.allow("worker", *[each for each in rights if each != gone])
    kafka = secured.login("worker")
    config = config_file(tmp_path / "worker.toml", kafka)
    log = tmp_path / "worker.log"
    async with running(start_worker(log, kafka, secured_topics, server, config=config, **settings)) as worker:
        assert await worker.ended(LONGEST_S) in {1, 4}
    last = worker.log().splitlines()[-1]
    assert re.search(rf"does not let user 'worker' .*{told}", last), last


async def test_a_worker_that_may_see_but_not_read_says_so(
    secured: SecuredKafka, secured_topics: TopicSet, server: str, tmp_path: Path
) -> None:
    """Describe alone lets it join and start; the first poll fails, and ends it with a line."""
    read, *others = worker_rights(secured_topics)
    await secured.allow("worker", replace(read, operation=Operation.DESCRIBE), *others)
    kafka = secured.login("worker")
    config = config_file(tmp_path / "worker.toml", kafka)
    await put(secured.root, secured_topics.frames, [Put(jpeg())])
    worker = start_worker(tmp_path / "worker.log", kafka, secured_topics, server, config=config)
    async with running(worker):
        assert await worker.ended(LONGEST_S) == 4
    assert re.search(r"use topic '\S+-frames'.*--operation Read", worker.log().splitlines()[-1])


async def _send_one(kafka: KafkaSettings, topics: TopicSet) -> None:
    async with FrameProducer(kafka, topic=topics.frames) as producer:
        await producer.send(Frame("lobby", jpeg(), time.time_ns() // 1_000_000))


async def _make_topics(kafka: KafkaSettings, topics: TopicSet) -> None:
    await ensure_topics(kafka, topic_specs(topics.settings))


async def _transact(kafka: KafkaSettings, topics: TopicSet) -> None:
    producer = AIOKafkaProducer(**kafka.client_options(), transactional_id=f"{topics.group}-frames-0")
    try:
        await connect(kafka, producer.start())
    finally:
        await producer.stop()


WITHOUT: dict[str, tuple[Callable[[KafkaSettings, TopicSet], Awaitable[None]], list[Operation], str]] = {
    "to write anything": (_send_one, [], "write to any topic"),
    "to write": (_send_one, [Operation.DESCRIBE], r"write to any topic|use topic '\S+-frames'.*Write"),
    "to create": (_make_topics, [], r"use topic '\S+'.*--operation Create --topic \S+"),
    "to see configs": (_make_topics, [Operation.DESCRIBE], r"'\S+'.*--operation DescribeConfigs"),
    "to a transactional id": (_transact, [Operation.WRITE], r"transactional id '\S+-group-frames-0'"),
}


@pytest.mark.parametrize("without", WITHOUT)
async def test_a_client_without_a_right_names_it(
    secured: SecuredKafka, secured_topics: TopicSet, without: str
) -> None:
    """FrameProducer, topics and a transactional producer say at once which right is missing."""
    act, operations, told = WITHOUT[without]
    names = (secured_topics.frames, secured_topics.events, secured_topics.dlq)
    acls = [Acl(Resource.TOPIC, name, each) for name in names for each in operations]
    await secured.allow("nobody", *acls)
    began_s = time.monotonic()
    with pytest.raises(UnreachableError, match=rf"does not let user 'nobody' .*({told})") as error:
        await act(secured.login("nobody"), secured_topics)
    assert "\n" not in str(error.value)
    assert time.monotonic() - began_s < LONGEST_S
