"""Facts that the check judges, one wrong thing each, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from riverlens_worker.check.facts import (
    Clock,
    Facts,
    FullBatch,
    Group,
    Kafka,
    ModelServer,
    Own,
    Pair,
    Partition,
    Presence,
    Topic,
)
from riverlens_worker.check.finding import Level

MIB = 1024 * 1024
ALL_RIGHTS = 3576
CONFIGS = {
    "max.message.bytes": str(8 * MIB + 64 * 1024),
    "min.insync.replicas": "2",
    "retention.ms": "900000",
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
}
SMALL = CONFIGS | {"max.message.bytes": "1048588"}
NOW_MS = 1_800_000_000_000


def _topic(setting: str, name: str, **changed: Any) -> Topic:
    whole = Topic(name, setting, Presence.THERE, 12, 3, 3, 0, ALL_RIGHTS, CONFIGS)
    return replace(whole, **changed)


FRAMES = _topic("frames_topic", "frames")
EVENTS = _topic("events_topic", "detections")
DLQ = _topic("dlq_topic", "frames.dlq", configs=CONFIGS | {"max.message.bytes": str(8 * MIB + 128 * 1024)})
GOOD_PART = Partition(0, 10, 8, NOW_MS - 500, NOW_MS - 400, NOW_MS - 900)
KAFKA = Kafka(
    {"k:9092": ""}, 3, (FRAMES, EVENTS, DLQ), Group(), {0: GOOD_PART}, Clock(3, 2, "controller 1's"),
    now_ms=NOW_MS,
)  # fmt: skip
SERVER = ModelServer(
    "m:8500", versions=((1, "AVAILABLE"),), signature="serving_default", fed="pixels", read="boxes",
    labels=3, row_bytes=1000, pair=Pair(5, 6, 0.0), full=FullBatch(32, 40),
)  # fmt: skip
FACTS = Facts(KAFKA, (SERVER,), Own())


def changed_kafka(**changed: Any) -> Facts:
    """Sound facts, but for these fields of Kafka's."""
    return replace(FACTS, kafka=replace(KAFKA, **changed))


def _frames(**changed: Any) -> Facts:
    return changed_kafka(topics=(replace(FRAMES, **changed), EVENTS, DLQ))


def _frames_with(**configs: str) -> Facts:
    return _frames(configs=CONFIGS | {name.replace("_", "."): value for name, value in configs.items()})


def _events(**changed: Any) -> Facts:
    return changed_kafka(topics=(FRAMES, replace(EVENTS, **changed), DLQ))


def _server(**changed: Any) -> Facts:
    return replace(FACTS, servers=(replace(SERVER, **changed),))


def _part(**changed: Any) -> Facts:
    return changed_kafka(partitions={0: replace(GOOD_PART, **changed)})


def _batching(text: str) -> Facts:
    return replace(FACTS, own=Own(batching_file="b.config", batching=text))


ONCE = {"delivery": "exactly-once"}
Row = tuple[Facts, dict[str, Any], Level, str, str, str]
ROWS: dict[str, Row] = {
    # name: facts, settings, level, what, words of what was found, words of the remedy
    "one broker of two away": (
        changed_kafka(addresses={"k:9092": "", "l:9092": "did not answer; see kafka.bootstrap_servers"}), {},
        Level.WARNING, "Kafka l:9092", "did not answer", "kafka.bootstrap_servers"),
    "Kafka away": (
        replace(FACTS, kafka=Kafka({"k:9092": "cannot be reached; see kafka.bootstrap_servers"})), {},
        Level.BAD, "Kafka k:9092", "cannot be reached", "kafka.bootstrap_servers"),
    "a step that failed": (
        changed_kafka(failures=(("topics", "no answer within 10 s"),)), {},
        Level.BAD, "topics", "no answer within 10 s", "again"),
    "topic missing": (
        _frames(presence=Presence.MISSING), {"max_frame_bytes": 4096},
        Level.BAD, "topic frames", "frames_topic",
        "riverlens topics --bootstrap-servers 127.0.0.1:9092 --max-frame-bytes 4096"),
    "topic hidden": (
        _frames(presence=Presence.HIDDEN), {},
        Level.BAD, "topic frames", "may not see", "Read --topic frames"),
    "no leader": (_frames(leaderless=2), {}, Level.BAD, "topic frames", "2 of 12", "brokers run"),
    "may not read frames": (
        _frames(rights=1 << 8), {}, Level.BAD, "topic frames", "may not read", "--operation Read"),
    "may not write events": (
        _events(rights=1 << 3), {}, Level.BAD, "topic detections", "may not write", "--operation Write"),
    "configuration hidden": (
        _frames(configs=None), {}, Level.WARNING, "topic frames", "not looked at", "DescribeConfigs"),
    "one copy on three brokers": (
        _frames(replication=1, in_sync=1, configs=CONFIGS | {"min.insync.replicas": "1"}), {},
        Level.WARNING, "copies of frames", "1 on 3 brokers", "reassign"),
    "one in sync is enough": (
        _frames_with(min_insync_replicas="1"), {},
        Level.WARNING, "copies of frames", "one broker acknowledged", "min.insync.replicas=2"),
    "all must be in sync": (
        _frames_with(min_insync_replicas="3"), {},
        Level.WARNING, "copies of frames", "stops all writing", "min.insync.replicas=2"),
    "too few in sync": (
        _frames(in_sync=1), {}, Level.BAD, "copies of frames", "nothing can be written", "brokers"),
    "partitions differ": (
        _events(partitions=4), {}, Level.WARNING, "partitions", "detections 4",
        "--topic detections --partitions 12"),
    "small frames topic": (
        _frames_with(max_message_bytes="1048588"), {},
        Level.WARNING, "sizes on frames", "8 MiB, can arrive", "max.message.bytes=8454144"),
    "frames above the worker's limit": (
        _frames_with(max_message_bytes=str(32 * MIB)), {},
        Level.WARNING, "sizes on frames", "unread", "--max-frame-bytes 33488896"),
    "small dead letters": (
        changed_kafka(topics=(FRAMES, EVENTS, replace(DLQ, configs=SMALL))), {},
        Level.BAD, "sizes on frames.dlq", "lose their image", "--entity-name frames.dlq"),
    "small events": (
        _events(configs=CONFIGS | {"max.message.bytes": "20000"}), {},
        Level.WARNING, "sizes on detections", "100 detections", "max.message.bytes=1048588"),
    "compacted frames": (
        _frames_with(cleanup_policy="compact"), {},
        Level.BAD, "retention of frames", "compacts", "cleanup.policy=delete"),
    "short retention": (
        _frames_with(retention_ms="60000"), {},
        Level.WARNING, "retention of frames", "60 s", "retention.ms=900000"),
    "append times": (
        _frames_with(message_timestamp_type="LogAppendTime"), {},
        Level.WARNING, "timestamps of frames", "captured-at", "CreateTime"),
    "no right on the group": (
        changed_kafka(group=Group("does not let us; see kafka.sasl_username, or give the right: X")), {},
        Level.BAD, "group riverlens", "does not let us", "give the right: X"),
    "session timeout too short": (
        changed_kafka(group=Group(joining="InvalidSessionTimeoutError", session_bounds_ms=(6000, 9000))),
        {"session_timeout_ms": 3000}, Level.BAD, "group riverlens", "6000 to 9000",
        "--session-timeout-ms 6000"),
    "session timeout too long": (
        changed_kafka(group=Group(joining="InvalidSessionTimeoutError", session_bounds_ms=(6000, 9000))),
        {"session_timeout_ms": 99000}, Level.BAD, "group riverlens", "99000", "--session-timeout-ms 9000"),
    "strangers in the group": (
        changed_kafka(group=Group(joining="InconsistentGroupProtocolError")), {},
        Level.BAD, "group riverlens", "another kind", "--group-id"),
    "frames lost": (
        _part(start=9), {}, Level.WARNING, "lost on frames", "1 frames were removed", "retention.ms=3600000"),
    "lag near retention": (
        _part(oldest_unread_ms=NOW_MS - 600_000), {},
        Level.WARNING, "lag on frames", "the oldest 600 s old; retention removes", "more workers"),
    "no transactional id": (
        changed_kafka(transactions_refused="does not let user 'w'; see kafka.sasl_username"), ONCE,
        Level.BAD, "transactions", "does not let user 'w'", "kafka.sasl_username"),
    "others deliver at-least-once": (
        changed_kafka(group=Group(members=2, transactional=0)), ONCE,
        Level.BAD, "delivery", "2 members of riverlens deliver at-least-once", "end them"),
    "others deliver exactly-once": (
        changed_kafka(group=Group(members=2, transactional=4)), {},
        Level.WARNING, "delivery", "must not be mixed", "--delivery exactly-once"),
    "our clock is behind": (
        changed_kafka(clock=Clock(5000, 2, "controller 1's")), {},
        Level.WARNING, "clock", "5 s behind", "NTP"),
    "our clock is far ahead": (
        changed_kafka(clock=Clock(-4_000_000, 2, "controller 1's")), {},
        Level.BAD, "clock", "refuses", "NTP"),
    "captures in the future": (
        _part(newest_ms=NOW_MS + 60_000), {}, Level.WARNING, "capture times", "60 s from now", "NTP"),
    "model server away": (
        _server(problem="m:8500 does not answer (UNAVAILABLE); see the setting server"), {},
        Level.BAD, "model server m:8500", "does not answer", "see the setting server"),
    "model is loading": (
        _server(problem="m:8500 is loading 'street'", loading=True), {},
        Level.WARNING, "model server m:8500", "loading", "waits"),
    "one of two away": (
        replace(FACTS, servers=(SERVER, ModelServer("n:8500", problem="away; see server"))), {},
        Level.WARNING, "model server n:8500", "others answer", "see server"),
    "versions differ": (
        replace(FACTS, servers=(SERVER, replace(SERVER, versions=((2, "AVAILABLE"),)))), {},
        Level.WARNING, "model servers", "not all serve the same", ""),
    "taken for granted": (
        _server(warnings=("float input is taken for 0..1; see input_range",)), {},
        Level.WARNING, "model street", "taken for 0..1", "see input_range"),
    "no labels": (_server(labels=0), {}, Level.WARNING, "labels", "class-<id>", "--labels"),
    "rows mix": (
        _server(pair=Pair(5, 6, 0.5)), {}, Level.BAD, "two images", "otherwise than alone",
        "--max-batch-size 1"),
    "one row a call": (
        _server(pair=Pair(5, problem="no")), {}, Level.WARNING, "two images", "not answered: no", "export"),
    "batch limit": (
        _server(full=FullBatch(32, limit=16, problem="Task size")), {},
        Level.WARNING, "batch of 32", "at most 16 rows", "--max-batch-size 16"),
    "batch refused": (
        _server(full=FullBatch(32, problem="out of memory")), {},
        Level.WARNING, "batch of 32", "out of memory", "--max-batch-size 16"),
    "rows too large for a batch": (
        _server(row_bytes=4 * MIB), {}, Level.WARNING, "batch bytes", "16 rows", f"{128 * MIB}"),
    "admin port taken": (
        replace(FACTS, own=Own("in use")), {}, Level.BAD, "admin port 127.0.0.1:9100", "in use",
        "--admin-port 0"),
    "one call in flight": (
        FACTS, {"max_in_flight_calls": 1}, Level.WARNING, "calls in flight", "is 1",
        "--max-in-flight-calls 2"),
    "many calls in flight": (
        FACTS, {"max_in_flight_calls": 9}, Level.WARNING, "calls in flight", "is 9",
        "--max-in-flight-calls 2"),
    "little room": (
        FACTS, {"room_frames": 4}, Level.WARNING, "room", "hold 48 frames", "--room-frames 8"),
    "batching file unreadable": (
        replace(FACTS, own=Own(batching_file="b", batching_problem="b cannot be read")), {},
        Level.BAD, "batching file", "cannot be read", "--batching-file"),
    "batching file is none": (
        _batching("{ no"), {}, Level.BAD, "batching file", "not a field", "edit b.config"),
    "batching file's limit": (
        _batching("max_batch_size { value: 8 } num_batch_threads { value: 1 }"), {},
        Level.BAD, "batching file", "below the worker's batch of 32", "edit b.config"),
    "batching file's threads": (
        _batching("num_batch_threads { value: 9 }"), {},
        Level.WARNING, "batching file", "one by one", "edit b.config"),
    "batching file's queue": (
        replace(changed_kafka(group=Group(members=9)), own=Own(
            batching_file="b", batching="num_batch_threads { value: 1 }")), {},
        Level.WARNING, "batching file", "18 calls of 9 workers", "value: 18"),
}  # fmt: skip
