"""What became of every frame: read back from Kafka, each event held to its schema."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft202012Validator

from riverlens.dead_letter import Reason
from riverlens.drop import DROP_TYPE
from riverlens.event import EVENT_TYPE
from riverlens.frame import read_frame
from riverlens.kafka import KafkaSettings
from riverlens.schemas import load
from tests.conftest import TopicSet
from tests.harness.topics import ends, read_all, watcher
from tests.harness.waiting import wait_for

Place = tuple[int, int]
"""Partition and offset of a frame."""


@cache
def _validator(name: Any) -> Draft202012Validator:
    return Draft202012Validator(load(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


@dataclass(slots=True)
class Account:
    """Frames, events and dead letters of one set of topics.

    Attributes:
        frames: records by place.
        events: event bodies by place, first occurrences.
        letters: dead letters (records) by place, first occurrences.
        drops: bodies of published drops by place, first occurrences; they stand in order with the events.
        written_ms: when each event was written, by place.
        repeats: events, drops and dead letters beyond the first of a place.
        inversions: first occurrences that came after one of a later frame of their partition.
    """

    frames: dict[Place, Any] = field(default_factory=dict)
    events: dict[Place, dict[str, Any]] = field(default_factory=dict)
    letters: dict[Place, Any] = field(default_factory=dict)
    drops: dict[Place, dict[str, Any]] = field(default_factory=dict)
    written_ms: dict[Place, int] = field(default_factory=dict)
    repeats: int = 0
    inversions: int = 0

    @property
    def missing(self) -> list[Place]:
        """Frames without any outcome."""
        return sorted(self.frames.keys() - self.events.keys() - self.letters.keys() - self.drops.keys())

    @property
    def both(self) -> list[Place]:
        """Frames with more than one outcome."""
        pairs = ((self.events, self.letters), (self.events, self.drops), (self.letters, self.drops))
        return sorted({place for one, other in pairs for place in one.keys() & other.keys()})

    def reasons(self) -> dict[Place, str]:
        """Reason of each dead letter."""
        return {place: headers_of(record)["dlq-reason"] for place, record in self.letters.items()}

    def check(self, *, repeats: int | None = 0) -> None:
        """Nothing lost, nothing out of order, no stranger; repeats as stated (None: any number)."""
        assert not self.missing, f"{len(self.missing)} of {len(self.frames)} lost: {self.missing[:8]}"
        strangers = (self.events.keys() | self.letters.keys() | self.drops.keys()) - self.frames.keys()
        assert not strangers, f"outcomes of frames that never were: {sorted(strangers)[:8]}"
        assert self.inversions == 0, f"{self.inversions} out of order"
        if repeats is not None:
            assert self.repeats == repeats
            assert not self.both


def headers_of(record: Any) -> dict[str, str]:
    """A record's headers as text; the last of a name counts."""
    return {name: value.decode("utf-8", "replace") for name, value in record.headers}


async def take_account(
    kafka: KafkaSettings, topics: TopicSet, *, frames: bool = True, committed: bool = False
) -> Account:
    """Read the three topics whole; every event and dead letter is checked against its schema.

    `frames=False`: only count the frames, where some of them cannot be read. `committed`: see events and
    dead letters as a read_committed reader does.
    """
    account = Account()
    if frames:
        found = await read_all(kafka, topics.frames)
        account.frames = {(record.partition, record.offset): record for record in found}
    else:
        counts = await ends(kafka, topics.frames)
        account.frames = {(p, offset): None for p, end in counts.items() for offset in range(end)}
    highest: dict[tuple[str, int], int] = defaultdict(lambda: -1)
    for record in await read_all(kafka, topics.events, committed=committed):
        event = headers_of(record)["ce_type"] == EVENT_TYPE
        body = check_event(record) if event else check_drop(record)
        assert body["source"]["topic"] == topics.frames
        assert body["source"]["partition"] == record.partition
        place = record.partition, body["source"]["offset"]
        account.written_ms.setdefault(place, record.timestamp)
        _enter(account, account.events if event else account.drops, place, body, highest)
    for record in await read_all(kafka, topics.dlq, committed=committed):
        headers = check_letter(record)
        assert headers["dlq-topic"] == topics.frames
        place = int(headers["dlq-partition"]), int(headers["dlq-offset"])
        assert place[0] == record.partition
        _enter(account, account.letters, place, record, highest)
    return account


async def settled(
    kafka: KafkaSettings, topics: TopicSet, count: int, *, timeout_s: float = 60.0, frames: bool = True
) -> Account:
    """Wait until `count` outcomes are on events and dead letters together; then take account."""
    async with watcher(kafka, topics.group) as watch:

        async def done() -> bool:
            return await watch.count(topics.events, topics.dlq) >= count

        await wait_for(done, what=f"{count} outcomes", timeout_s=timeout_s)
    return await take_account(kafka, topics, frames=frames)


async def all_committed(kafka: KafkaSettings, topics: TopicSet, *, timeout_s: float = 60.0) -> None:
    """Wait until the group has committed every frame that lies on its topic now."""
    async with watcher(kafka, topics.group) as watch:

        async def done() -> bool:
            return await watch.committed(topics.frames) == await watch.ends(topics.frames)

        await wait_for(done, what="every frame is committed", timeout_s=timeout_s)


def _enter(
    account: Account,
    into: dict[Place, Any],
    place: Place,
    found: Any,
    highest: dict[tuple[str, int], int],
) -> None:
    if place in into:
        account.repeats += 1
        return
    into[place] = found
    kind = "letter" if into is account.letters else "event", place[0]
    if place[1] < highest[kind]:
        account.inversions += 1
    highest[kind] = max(highest[kind], place[1])


def check_event(record: Any) -> dict[str, Any]:
    """Hold an event to its schema, its key and its CloudEvents headers; returns its body."""
    body: dict[str, Any] = orjson.loads(record.value)
    _validator("event").validate(body)
    _check_envelope(record, body, EVENT_TYPE)
    return body


def check_drop(record: Any) -> dict[str, Any]:
    """The same of a published drop."""
    body: dict[str, Any] = orjson.loads(record.value)
    _validator("drop").validate(body)
    _check_envelope(record, body, DROP_TYPE)
    return body


def _check_envelope(record: Any, body: dict[str, Any], ce_type: str) -> None:
    headers = headers_of(record)
    assert record.key == body["camera_id"].encode()
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == ce_type
    assert headers["ce_id"] == body["event_id"]
    assert unquote(headers["ce_source"]) == f"/cameras/{body['camera_id']}"
    assert headers["ce_time"] == body["captured_at"]
    assert headers["content-type"] == "application/json"
    assert headers.get("ce_subject") == body["frame_id"]
    source = body["source"]
    assert body["event_id"] == f"{source['topic']}/{source['partition']}/{source['offset']}"


def check_letter(record: Any) -> dict[str, str]:
    """Hold a dead letter's headers to the schema and the closed list; returns them."""
    headers = headers_of(record)
    _validator("dead_letter").validate({n: v for n, v in headers.items() if n.startswith("dlq-")})
    assert headers["dlq-reason"] in set(Reason)
    return headers


def camera_of(record: Any) -> str:
    """The camera that a frame's record belongs to."""
    return read_frame(record).camera_id
