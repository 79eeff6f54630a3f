"""Records on their way to Kafka and not yet acknowledged, in the order they were sent. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from riverlens.dead_letter import VALUE_OMITTED, Origin, Reason, dead_letter_headers
from riverlens.drop import Drop
from riverlens.event import Event, Model
from riverlens.frame import TRACEPARENT
from riverlens_worker.message import message
from riverlens_worker.messages import LeasedFrame, Outcome, Prediction, Rejected, Settled
from riverlens_worker.spans import Traced

_MOST_KEY_BYTES = 1024

Headers = Sequence[tuple[str, bytes]]


@message
class Outgoing:
    """One record to produce, and what its acknowledgement settles.

    Attributes:
        partition: the frame's partition number; used where the topic has one of that number.
        answered_s: when the answer was there (monotonic), for the publish stage; None for dead letters.
        captured_at_ms: for the frame's latency.
        made_at_ms: the wall clock when it was made.
        traced: what its spans are made of; None where tracing is off or its frame not sampled.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers
    settled: Settled
    captured_at_ms: int
    made_at_ms: int
    answered_s: float | None = None
    traced: Traced | None = None

    @property
    def is_event(self) -> bool:
        """Whether this is an event, not a dead letter."""
        return self.settled.outcome is Outcome.PUBLISHED


Entry = Outgoing | Settled
"""A record to publish, or a frame that becomes none and only moves the offset on."""


def source_of(entry: Entry) -> LeasedFrame:
    """The frame that an entry is about."""
    return entry.settled.source if isinstance(entry, Outgoing) else entry.source


class Outbox:
    """Unacknowledged records by number, in rising order. Writer: Publisher alone."""

    def __init__(self) -> None:
        self._waiting: dict[int, Outgoing] = {}
        self._next = 0

    def add(self, outgoing: Outgoing) -> int:
        """Note a record as sent; returns its number."""
        number = self._next
        self._next += 1
        self._waiting[number] = outgoing
        return number

    def acknowledge(self, number: int) -> Outgoing | None:
        """Remove and return a record; None where it is not waiting any more."""
        return self._waiting.pop(number, None)

    def replace(self, number: int, outgoing: Outgoing) -> None:
        """Another record takes this one's place in the order: a dead letter in place of its event."""
        self._waiting[number] = outgoing

    def waiting(self) -> list[tuple[int, Outgoing]]:
        """All unacknowledged records in the order they were sent."""
        return sorted(self._waiting.items())

    def __len__(self) -> int:
        return len(self._waiting)


@dataclass(frozen=True, slots=True)
class Topics:
    """Where records go, and the model's name in events."""

    events: str
    dlq: str
    model: str
    signature: str


def event_record(prediction: Prediction, topics: Topics, now_ms: int) -> Outgoing:
    """The event of one prediction. `now_ms` (wall clock) ends its `total` time."""
    decoded = prediction.source
    source = decoded.source
    frame, lease = source.frame, source.lease
    event = Event(
        origin=Origin(lease.topic, lease.partition, source.offset),
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        sequence=frame.sequence,
        captured_at_ms=frame.captured_at_ms,
        image_size=decoded.size,
        model=_model(topics.model, prediction.version, topics.signature),
        timing_ms={
            "broker": round(source.broker_ms, 1),
            "queue": round(prediction.queue_ms, 1),
            "decode": round(decoded.decode_ms, 1),
            "predict": round(prediction.predict_ms, 1),
            "total": round(float(max(0, now_ms - frame.captured_at_ms)), 1),
        },
        batch_size=prediction.batch_size,
        batch_reason=prediction.batch_reason.value,
        detections=prediction.answer.detections,
        classes=prediction.answer.classes,
        outputs=prediction.answer.outputs,
        traceparent=frame.traceparent,
    )
    return _said(event, Settled(source, Outcome.PUBLISHED), topics.events, now_ms, prediction.answered_s)


@lru_cache(maxsize=16)
def _model(name: str, version: int, signature: str) -> Model:
    return Model(name, version, signature)


def drop_record(rejected: Rejected, topics: Topics, now_ms: int) -> Outgoing:
    """What stands in the place of a dropped frame's event. `now_ms` (wall clock) ends its age."""
    source = rejected.source
    frame, lease = source.frame, source.lease
    drop = Drop(
        origin=Origin(lease.topic, lease.partition, source.offset),
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        sequence=frame.sequence,
        captured_at_ms=frame.captured_at_ms,
        reason=rejected.reason,
        age_ms=round(float(max(0, now_ms - frame.captured_at_ms)), 1),
        traceparent=frame.traceparent,
    )
    return _said(drop, Settled(source, Outcome.DROPPED, rejected.reason), topics.events, now_ms)


def _said(
    said: Event | Drop, settled: Settled, topic: str, now_ms: int, answered_s: float | None = None
) -> Outgoing:
    """What is said of a frame, in the frame's place among the events."""
    source = settled.source
    return Outgoing(
        topic=topic,
        partition=source.lease.partition,
        key=source.frame.key(),
        value=said.to_json(),
        headers=said.headers(),
        settled=settled,
        captured_at_ms=source.frame.captured_at_ms,
        made_at_ms=now_ms,
        answered_s=answered_s,
    )


def dead_letter_record(rejected: Rejected, topics: Topics, now_ms: int) -> Outgoing:
    """The dead letter of one frame: key, value and headers as they came, and why."""
    source = rejected.source
    lease = source.lease
    reason = Reason(rejected.reason)
    headers = dead_letter_headers(
        source.headers,
        origin=Origin(lease.topic, lease.partition, source.offset),
        reason=reason,
        detail=rejected.detail,
        at_ms=now_ms,
        captured_at_ms=source.frame.captured_at_ms,
        null_value=source.null_value,
    )
    return Outgoing(
        topic=topics.dlq,
        partition=lease.partition,
        key=source.key,
        value=source.frame.image,
        headers=headers,
        settled=Settled(source, Outcome.DEAD_LETTERED, reason.value),
        captured_at_ms=source.frame.captured_at_ms,
        made_at_ms=now_ms,
    )


def with_trace(outgoing: Outgoing, traced: Traced | None) -> Outgoing:
    """The record of a sampled frame; what follows it in the trace is told its own span, not the producer's.

    A dead letter keeps the frame's headers as they came.
    """
    if traced is None:
        return outgoing
    if outgoing.settled.outcome is Outcome.DEAD_LETTERED:
        return replace(outgoing, traced=traced)
    headers = [(name, value) for name, value in outgoing.headers if name != TRACEPARENT]
    headers.append((TRACEPARENT, traced.trace.send.traceparent().encode()))
    return replace(outgoing, headers=headers, traced=traced)


def instead(outgoing: Outgoing, dlq: str, error: BaseException, *, too_large: bool) -> Outgoing | None:
    """What takes the place of a record that Kafka refuses for good; None where nothing is left to try.

    An event or a drop gives way to its frame's dead letter, a dead letter to a smaller one.
    """
    if outgoing.settled.outcome is Outcome.DEAD_LETTERED:
        return smaller(outgoing)
    reason = Reason.EVENT_TOO_LARGE if too_large else Reason.EVENT_REJECTED
    rejected = Rejected(outgoing.settled.source, Outcome.DEAD_LETTERED, reason.value, repr(error))
    letter = dead_letter_record(rejected, Topics(outgoing.topic, dlq, "", ""), outgoing.made_at_ms)
    return with_trace(letter, outgoing.traced)


def smaller(outgoing: Outgoing) -> Outgoing | None:
    """A dead letter too large for Kafka travels without its value, then without the frame's own headers.

    It says so in a header. None where nothing is left to leave out.
    """
    if outgoing.value:
        return replace(outgoing, value=b"", headers=[*outgoing.headers, (VALUE_OMITTED, b"true")])
    ours = [(name, value) for name, value in outgoing.headers if name.startswith("dlq-")]
    key = outgoing.key[:_MOST_KEY_BYTES] if outgoing.key is not None else None
    if len(ours) == len(outgoing.headers) and key == outgoing.key:
        return None
    return replace(outgoing, key=key, headers=ours)
