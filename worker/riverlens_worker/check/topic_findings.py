"""What is wrong with the three topics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from riverlens.topic_spec import IN_SYNC, MAX_BYTES, REPLICATION
from riverlens_worker.check.facts import Kafka, Presence, Right, Topic
from riverlens_worker.check.finding import Finding, bad, good, warning
from riverlens_worker.settings import WorkerSettings

_OVERHEAD_BYTES = 64 * 1024
"""Room beside an image for key, headers and the record batch around it; a dead letter has as much again."""
_REQUEST_MARGIN_BYTES = 1024 * 1024
"""How much larger than max_frame_bytes the worker's own producers let a request be."""
_BYTES_A_DETECTION = 300
_SHORT_MS = 5 * 60_000
_RIGHTS = {"frames_topic": Right.READ, "events_topic": Right.WRITE, "dlq_topic": Right.WRITE}


def judge_topics(kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    """Every topic by itself, then what they must agree on."""
    for topic in kafka.topics:
        if topic.presence is Presence.THERE:
            yield from _one(topic, kafka, settings)
        else:
            yield _absent(topic, kafka, settings)
    frames, events, dlq = (kafka.topic(name) for name in ("frames_topic", "events_topic", "dlq_topic"))
    if frames is not None and events is not None:
        yield _partitions(frames, events, settings)
    if frames is not None and frames.configs is not None:
        yield from _frames(frames.name, frames.configs, settings)
    if dlq is not None and dlq.configs is not None:
        limit = _number(frames.configs, MAX_BYTES) if frames is not None and frames.configs else None
        yield _dead_letters(dlq.name, dlq.configs, limit, settings)
    if events is not None and events.configs is not None:
        yield from _events(events.name, events.configs, settings)


def make_topics(settings: WorkerSettings) -> str:
    """The command that creates what is missing."""
    words = [f"riverlens topics --bootstrap-servers {settings.kafka.bootstrap_servers}"]
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if (name in _RIGHTS or name == "max_frame_bytes") and value != field.default:
            words.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(words)


def alter(settings: WorkerSettings, topic: str, **configs: object) -> str:
    """The command that changes a topic's configuration; names with `_` for dots."""
    given = ",".join(f"{name.replace('_', '.')}={value}" for name, value in configs.items())
    return (
        f"kafka-configs.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --entity-type "
        f"topics --entity-name {topic} --add-config {given}"
    )


def grant(settings: WorkerSettings, operation: str, what: str) -> str:
    """The command that gives us a right."""
    user = settings.kafka.sasl_username or "<us>"
    return f"kafka-acls.sh --add --allow-principal User:{user} --operation {operation} {what}"


def size(nbytes: int) -> str:
    """For a person: 8.1 MiB, 64 KiB."""
    mib, kib = nbytes / (1024 * 1024), nbytes / 1024
    return f"{mib:.4g} MiB" if mib >= 1 else f"{kib:.4g} KiB"


def _absent(topic: Topic, kafka: Kafka, settings: WorkerSettings) -> Finding:
    what = f"topic {topic.name}"
    if topic.presence is Presence.MISSING:
        return bad(what, f"does not exist ({topic.setting})", make_topics(settings))
    operation = _RIGHTS[topic.setting].name.capitalize()
    others = "" if len(kafka.topics) > 1 else f"; see {topic.setting}"
    return bad(
        what,
        f"we may not see it, or it does not exist ({topic.setting}){others}",
        grant(settings, operation, f"--topic {topic.name}"),
    )


def _one(topic: Topic, kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    what = f"topic {topic.name}"
    copies = f"{topic.replication} {'copy' if topic.replication == 1 else 'copies'}"
    yield good(what, f"{topic.partitions} partitions, {copies}")
    if topic.leaderless:
        found = f"{topic.leaderless} of {topic.partitions} partitions have no leader"
        yield bad(what, found, "see that all brokers run: what is in these partitions waits")
    right = _RIGHTS[topic.setting]
    if not topic.may(right):
        operation = right.name.capitalize()
        found = f"we may not {operation.lower()} it"
        yield bad(what, found, grant(settings, operation, f"--topic {topic.name}"))
    if topic.configs is None:
        found = "its configuration was not looked at: we may not read it"
        yield warning(what, found, grant(settings, "DescribeConfigs", f"--topic {topic.name}"))
    else:
        yield from _copies(topic, topic.configs, kafka.brokers, settings)


def _copies(
    topic: Topic, configs: Mapping[str, str], brokers: int, settings: WorkerSettings
) -> Iterator[Finding]:
    what, wanted = f"copies of {topic.name}", _number(configs, IN_SYNC) or 1
    mend = alter(settings, topic.name, min_insync_replicas=2)
    if topic.in_sync < wanted:
        found = f"{topic.in_sync} in sync, min.insync.replicas is {wanted}: nothing can be written"
        yield bad(what, found, "see that all brokers run")
    elif topic.replication >= REPLICATION and wanted < topic.replication - 1:
        found = f"min.insync.replicas is {wanted}: what one broker acknowledged is lost with it"
        yield warning(what, found, mend)
    elif 1 < topic.replication == wanted:
        found = f"min.insync.replicas is {wanted}, as many as there are: one broker away stops all writing"
        yield warning(what, found, alter(settings, topic.name, min_insync_replicas=topic.replication - 1))
    elif topic.replication < REPLICATION <= brokers:
        found = f"{topic.replication} on {brokers} brokers: a broker lost is frames or events lost"
        yield warning(what, found, "kafka-reassign-partitions.sh, or make the topic anew: riverlens topics")


def _partitions(frames: Topic, events: Topic, settings: WorkerSettings) -> Finding:
    what = "partitions"
    if frames.partitions == events.partitions:
        return good(what, f"{frames.name} and {events.name} have {frames.partitions} each")
    found = (
        f"{frames.name} has {frames.partitions}, {events.name} {events.partitions}: events go by their "
        "camera's key, so they stay in order by camera, but not by the frames' partition"
    )
    less, more = (
        (events, frames.partitions) if events.partitions < frames.partitions else (frames, events.partitions)
    )
    mend = (
        f"kafka-topics.sh --bootstrap-server {settings.kafka.bootstrap_servers} --alter --topic {less.name} "
        f"--partitions {more} (while nothing runs: cameras move between partitions)"
    )
    return warning(what, found, mend)


def _frames(name: str, configs: Mapping[str, str], settings: WorkerSettings) -> Iterator[Finding]:
    yield _frame_size(name, configs, settings)
    if "compact" in configs.get("cleanup.policy", ""):
        found = "cleanup.policy compacts: only the newest frame of each camera is kept, read or not"
        yield bad(f"retention of {name}", found, alter(settings, name, cleanup_policy="delete"))
    retention_ms = _number(configs, "retention.ms")
    if retention_ms is not None and 0 <= retention_ms < _SHORT_MS:
        found = f"{retention_ms / 1000:g} s: frames of a worker that is away for longer are gone"
        yield warning(f"retention of {name}", found, alter(settings, name, retention_ms=15 * 60_000))
    elif retention_ms is not None:
        told = "for ever" if retention_ms < 0 else f"{retention_ms / 60_000:g} minutes"
        yield good(f"retention of {name}", f"{told}: so long may all workers be away")
    if configs.get("message.timestamp.type") == "LogAppendTime":
        found = "LogAppendTime: capture times are lost where frames have no header captured-at"
        yield warning(
            f"timestamps of {name}", found, alter(settings, name, message_timestamp_type="CreateTime")
        )


def _frame_size(name: str, configs: Mapping[str, str], settings: WorkerSettings) -> Finding:
    what, most = f"sizes on {name}", settings.max_frame_bytes
    limit = _number(configs, MAX_BYTES) or 0
    if limit < most:
        found = f"{MAX_BYTES} is {size(limit)}: no frame of max_frame_bytes, {size(most)}, can arrive"
        return warning(what, found, alter(settings, name, max_message_bytes=most + _OVERHEAD_BYTES))
    if limit > most + _REQUEST_MARGIN_BYTES:
        found = (
            f"{MAX_BYTES} is {size(limit)}: frames above max_frame_bytes, {size(most)}, are dead-lettered "
            "unread, larger ones than a dead letter can hold without their image"
        )
        return warning(what, found, f"--max-frame-bytes {limit - _OVERHEAD_BYTES}")
    # Kafka hands out a batch that is larger than the consumer's fetch size, if it is the first (KIP-74).
    return good(what, f"frames up to {size(most)} can be written, fetched and read")


def _dead_letters(
    name: str, configs: Mapping[str, str], frames_limit: int | None, settings: WorkerSettings
) -> Finding:
    """A dead letter is its frame and more headers."""
    what, limit = f"sizes on {name}", _number(configs, MAX_BYTES) or 0
    largest = frames_limit if frames_limit is not None else settings.max_frame_bytes
    most = min(largest, settings.max_frame_bytes + _REQUEST_MARGIN_BYTES)
    if limit < most:
        found = f"{MAX_BYTES} is {size(limit)}: dead letters of frames up to {size(most)} lose their image"
        return bad(what, found, alter(settings, name, max_message_bytes=most + _OVERHEAD_BYTES))
    return good(what, f"the largest frame fits as a dead letter, {size(most)}")


def _events(name: str, configs: Mapping[str, str], settings: WorkerSettings) -> Iterator[Finding]:
    what, limit = f"sizes on {name}", _number(configs, MAX_BYTES) or 0
    most = _OVERHEAD_BYTES + settings.max_detections * _BYTES_A_DETECTION
    if limit < most:
        found = (
            f"{MAX_BYTES} is {size(limit)}: an event of {settings.max_detections} detections may be larger, "
            "and is then dead-lettered"
        )
        yield warning(what, found, alter(settings, name, max_message_bytes=1_048_588))
    else:
        yield good(what, f"events up to {size(limit)}")
    if "compact" in configs.get("cleanup.policy", ""):
        found = "cleanup.policy compacts: only the newest event of each camera is kept"
        yield warning(f"retention of {name}", found, alter(settings, name, cleanup_policy="delete"))


def _number(configs: Mapping[str, str], name: str) -> int | None:
    try:
        return int(configs[name])
    except (KeyError, ValueError):
        return None
