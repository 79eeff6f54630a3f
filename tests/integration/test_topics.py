"""`riverlens topics` on a real Kafka: creates, compares, never alters."""

from __future__ import annotations

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from riverlens import topics
from riverlens.errors import RiverlensError, UnreachableError
from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics, topic_specs
from tests.conftest import MakeTopics


async def _configs(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_topics_are_made_with_limits_that_agree(kafka: KafkaSettings, make_topics: MakeTopics) -> None:
    """Frames keep 15 minutes and 8 MiB in short segments; a dead letter may be larger than its frame."""
    made = await make_topics(partitions=3)
    frames = await _configs(kafka, made.frames)
    assert frames["retention.ms"] == "900000"
    assert int(frames["segment.ms"]) < 900_000
    assert int(frames["max.message.bytes"]) > 8 * 1024 * 1024
    assert int((await _configs(kafka, made.dlq))["max.message.bytes"]) > int(frames["max.message.bytes"])


async def test_a_second_time_changes_nothing_and_says_nothing(
    kafka: KafkaSettings, make_topics: MakeTopics
) -> None:
    """Existing topics that fit are reported as existing, without differences."""
    made = await make_topics(partitions=3)
    for report in await ensure_topics(kafka, topic_specs(made.settings)):
        assert (report.created, report.partitions, report.replication) == (False, 3, 1)
        assert report.differences == ()


async def test_differences_come_with_their_remedy(kafka: KafkaSettings, make_topics: MakeTopics) -> None:
    """Fewer partitions, a smaller limit and another retention each appear with the command that mends it."""
    made = await make_topics(partitions=2, max_frame_bytes=1024 * 1024)
    asked = made.settings.model_copy(
        update={"partitions": 12, "max_frame_bytes": 8 * 1024 * 1024, "retention_minutes": 60}
    )
    frames, events, _ = await ensure_topics(kafka, topic_specs(asked))
    text = "\n".join(frames.differences)
    assert f"--alter --topic {made.frames} --partitions 12" in text
    assert "max.message.bytes=1114112" in text
    assert "--add-config max.message.bytes=8454144,retention.ms=3600000,segment.ms=720000" in text
    assert len(events.differences) == 1
    assert (await _configs(kafka, made.frames))["retention.ms"] == "900000"


async def test_too_many_copies_are_refused_with_the_setting(kafka: KafkaSettings) -> None:
    """Three copies on one broker: Kafka's reason and the flag."""
    with pytest.raises(RiverlensError, match=r"only 1 broker\(s\) are registered.*--replication"):
        await ensure_topics(kafka, [TopicSpec("copies", 1, replication=3)])


async def test_an_unknown_config_is_refused_in_kafkas_words(kafka: KafkaSettings) -> None:
    """The topic's name and Kafka's reason are in the error."""
    with pytest.raises(RiverlensError, match=r"did not create topic odd.*retention\.hours"):
        await ensure_topics(kafka, [TopicSpec("odd", 1, {"retention.hours": "1"})])


async def test_an_unreachable_broker_is_named() -> None:
    """The address, the setting and a way to get a broker."""
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 .*kafka\.bootstrap_servers"):
        await ensure_topics(nowhere, [TopicSpec("t", 1)])


def test_the_command_prints_a_line_a_topic(kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """`riverlens topics` ends with 0, twice."""
    names = ["--frames-topic=cmd", "--events-topic=cmd.events", "--dlq-topic=cmd.dlq", "--partitions=1"]
    for done in ("created", "exists"):
        assert topics.main(["--bootstrap-servers", kafka.bootstrap_servers, *names]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"cmd: {done}, partitions 1, copies 1",
            f"cmd.events: {done}, partitions 1, copies 1",
            f"cmd.dlq: {done}, partitions 1, copies 1",
        ]
