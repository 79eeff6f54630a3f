"""`riverlens topics`: create the topics that riverlens needs, or say how those that exist differ."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import Field

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.frame import MAX_FRAME_BYTES
from riverlens.kafka import KafkaSettings, connect, refused
from riverlens.logs import LogFormat, LogLevel, set_up_logs
from riverlens.settings import Settings, complaints, load
from riverlens.topic_spec import (
    MAX_BYTES,
    REPLICATION,
    ExistingTopic,
    TopicName,
    TopicReport,
    TopicSpec,
    differences,
    with_replication,
)

_log = logging.getLogger(__name__)

RECORD_OVERHEAD_BYTES = 64 * 1024
"""Room beside an image for its key, its headers and the record batch around it."""
_USABLE_TIMEOUT_S = 30.0
_PAUSE_S = 0.05


class TopicsSettings(Settings):
    """Create the topics that riverlens needs; report how existing ones differ. Never alters a topic.

    Try:  riverlens topics
          riverlens topics --kafka.bootstrap-servers kafka1:9092 --partitions 24 --retention-minutes 60
    """

    table: ClassVar[str] = "topics"

    kafka: KafkaSettings = KafkaSettings()
    """Kafka."""
    frames_topic: TopicName = "frames"
    """Topic of the frames."""
    events_topic: TopicName = "detections"
    """Topic of the events."""
    dlq_topic: TopicName = "frames.dlq"
    """Topic of the dead letters."""
    partitions: int = Field(default=12, ge=1, le=10_000)
    """Partitions of each; also the most workers that can share the frames."""
    retention_minutes: int = Field(default=15, ge=1)
    """How long frames are kept; 16 cameras at 10 frames/s fill 26 GB an hour."""
    max_frame_bytes: int = Field(default=MAX_FRAME_BYTES, ge=1024, le=64 * 1024 * 1024)
    """Largest frame to allow; producers and workers have the same setting."""
    replication: int | None = Field(default=None, ge=1)
    """Copies of each; unset: 3 where there are three brokers, else 1."""
    log_level: LogLevel = "info"
    """Least severe log line to print."""
    log_format: LogFormat = "text"
    """Log lines as text or as JSON."""

    def contradictions(self) -> list[str]:
        """Two topics of one name."""
        if len({self.frames_topic, self.events_topic, self.dlq_topic}) == 3:  # noqa: PLR2004  # three topics
            return []
        return ["frames_topic, events_topic and dlq_topic must be three different topics"]

    def unusable(self) -> list[str]:
        """Certificates that cannot be read."""
        return complaints(self.kafka.client_options)


def topic_specs(settings: TopicsSettings) -> list[TopicSpec]:
    """The three topics of these settings, in the same number of partitions.

    A dead letter is its frame and more headers, so its topic's limit is larger. Retention deletes whole
    segments only: frames get segments of a fifth of their retention, not Kafka's 7 days or 1 GiB.
    """
    retention_ms = settings.retention_minutes * 60_000
    frame_limit = settings.max_frame_bytes + RECORD_OVERHEAD_BYTES
    frames = {
        MAX_BYTES: str(frame_limit),
        "retention.ms": str(retention_ms),
        "segment.ms": str(max(retention_ms // 5, 12_000)),
    }
    dead_letters = {MAX_BYTES: str(frame_limit + RECORD_OVERHEAD_BYTES)}
    return [
        TopicSpec(settings.frames_topic, settings.partitions, frames, settings.replication),
        TopicSpec(settings.events_topic, settings.partitions, {}, settings.replication),
        TopicSpec(settings.dlq_topic, settings.partitions, dead_letters, settings.replication),
    ]


async def ensure_topics(kafka: KafkaSettings, specs: Sequence[TopicSpec]) -> list[TopicReport]:
    """Create the topics that are missing, compare those that exist, and wait until all can be used.

    Usable: every broker knows a leader of every partition, so no client meets UnknownTopicOrPartition.
    Topics are never altered. A topic that somebody else creates meanwhile counts as existing.

    Raises:
        UnreachableError: no broker answers, it refuses us, or the topics get no leaders within 30 s.
        RiverlensError: Kafka refuses to create a topic; with its reason.
    """
    async with _clients(kafka) as (admin, client):
        brokers = len(client.cluster.brokers())
        wanted = [with_replication(spec, brokers) for spec in specs]
        if 1 < brokers < REPLICATION:
            _log.warning(
                "only %d brokers answer: new topics get one copy. If the cluster has more, start them first",
                brokers,
            )
        existing = await _existing(client, [spec.name for spec in wanted])
        created = await _create(admin, [spec for spec in wanted if spec.name not in existing], kafka)
        counts = await _until_usable(client, wanted, kafka)
        configs = await _configs(admin, [spec for spec in wanted if spec.name not in created], kafka)
        reports = []
        for spec in wanted:
            partitions, replication = counts[spec.name]
            lines: list[str] = []
            if spec.name not in created:
                found = ExistingTopic(partitions, replication, configs[spec.name])
                lines = differences(spec, found, kafka.bootstrap_servers)
            reports.append(
                TopicReport(spec.name, spec.name in created, partitions, replication, tuple(lines))
            )
        return reports


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], kafka: KafkaSettings) -> set[str]:
    """Create topics; returns the names of those that this call created."""
    if not specs:
        return set()
    answer = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.configs))
            for spec in specs
        ]
    )
    created = set()
    for name, code, text in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.add(name)
        elif error is TopicAuthorizationFailedError:
            raise refused(kafka, error(name), "Create")
        elif error is InvalidReplicationFactorError:
            raise RiverlensError(
                f"Kafka at {kafka.bootstrap_servers} cannot keep that many copies of {name} "
                f"({text}); see --replication"
            )
        elif error is not TopicAlreadyExistsError:
            raise RiverlensError(
                f"Kafka at {kafka.bootstrap_servers} did not create topic {name}: {text or error.__name__}"
            )
    return created


async def _existing(client: AIOKafkaClient, names: Sequence[str]) -> set[str]:
    answer = await client.send(client.get_random_node(), _describe(names))
    return {topic[1] for topic in answer.topics if topic[0] == 0}


def _describe(names: Sequence[str]) -> MetadataRequest:
    """Ask for these topics. aiokafka's own describe_topics makes missing ones, where brokers allow it."""
    return MetadataRequest(list(names), allow_auto_topic_creation=False)


async def _until_usable(
    client: AIOKafkaClient, specs: Sequence[TopicSpec], kafka: KafkaSettings
) -> dict[str, tuple[int, int]]:
    """Wait until every broker knows all leaders; returns (partitions, copies) by topic."""
    waiting = ""
    try:
        async with asyncio.timeout(_USABLE_TIMEOUT_S):
            for broker in client.cluster.brokers():
                while True:
                    answer = await client.send(broker.nodeId, _describe([spec.name for spec in specs]))
                    _see_allowed(((topic[0], topic[1]) for topic in answer.topics), kafka, "Describe")
                    leaderless = [
                        topic[1]
                        for topic in answer.topics
                        if topic[0] != 0 or not topic[3] or any(leader < 0 for _, _, leader, *_ in topic[3])
                    ]
                    if not leaderless:
                        break
                    waiting = f"broker {broker.nodeId} knows no leader for {', '.join(leaderless)}"
                    await asyncio.sleep(_PAUSE_S)
    except (TimeoutError, KafkaError) as error:
        raise UnreachableError(
            f"Kafka at {kafka.bootstrap_servers} has the topics, but they cannot be used "
            f"({waiting or repr(error)}) after {_USABLE_TIMEOUT_S:.0f} s; see that all its brokers run"
        ) from None
    return {topic[1]: (len(topic[3]), len(topic[3][0][3])) for topic in answer.topics}


async def _configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], kafka: KafkaSettings
) -> dict[str, dict[str, str]]:
    """The configuration of existing topics, the brokers' defaults included."""
    if not specs:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in specs]
    resources = [one for answer in await admin.describe_configs(asked) for one in answer.resources]
    _see_allowed(((resource[0], resource[3]) for resource in resources), kafka, "DescribeConfigs")
    return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in resources}


def _see_allowed(answered: Iterable[tuple[int, str]], kafka: KafkaSettings, operation: str) -> None:
    for code, topic in answered:
        if for_code(code) is TopicAuthorizationFailedError:
            raise refused(kafka, TopicAuthorizationFailedError(topic), operation)


@asynccontextmanager
async def _clients(kafka: KafkaSettings) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaClient]]:
    """The admin client, and a plain one for what it does not offer: asking each broker by its number."""
    options = kafka.client_options()
    client, admin = AIOKafkaClient(**options), AIOKafkaAdminClient(**options)
    try:
        await connect(kafka, client.bootstrap())
        await connect(kafka, admin.start())
        await connect(kafka, _brokers_known(admin, client))
        yield admin, client
    finally:
        await admin.close()
        await client.close()


async def _brokers_known(admin: AIOKafkaAdminClient, client: AIOKafkaClient) -> None:
    """A cluster that has just started may answer without naming a single broker."""
    for one in (admin._client, client):  # noqa: SLF001  # the admin client offers no look at its metadata
        while not one.cluster.brokers():
            await asyncio.sleep(_PAUSE_S)
            await one.force_metadata_update()


def main(argv: Sequence[str], prog: str = "riverlens topics") -> int:
    """Create what is missing, print a line a topic, warn of differences; returns 0.

    Raises:
        RiverlensError: as `ensure_topics`.
    """
    settings = load(TopicsSettings, argv, prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    for report in asyncio.run(ensure_topics(settings.kafka, topic_specs(settings))):
        done = "created" if report.created else "exists"
        sys.stdout.write(
            f"{report.name}: {done}, partitions {report.partitions}, copies {report.replication}\n"
        )
        for line in report.differences:
            _log.warning("%s", line)
    return 0
