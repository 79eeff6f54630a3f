"""The drop: said of a frame without an event, on purpose, on the topic `detections`, where asked for.

A freshness policy left it out, or the worker publishes changes only and nothing had changed.

It stands in its frame's place among the events, with the id that the frame's event would have, and the
CloudEvents type `riverlens.dropped.v1`. JSON after `schemas/drop.schema.json`. `riverlens.read_event` reads
it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from riverlens.cloud_event import envelope, id_of
from riverlens.dead_letter import Origin
from riverlens.times import from_rfc3339, to_rfc3339

DROP_SCHEMA = "riverlens.dropped/1"
DROP_TYPE = "riverlens.dropped.v1"


class DropReason(StrEnum):
    """Why a frame was left out; a closed list."""

    STALE = "stale"
    """It was older than its camera's policy allows."""
    SUPERSEDED = "superseded"
    """A newer frame of its camera was waiting."""
    UNCHANGED = "unchanged"
    """The model answered, and its counts were those of the camera's last event, or others for less than
    `changes_hold_ms` (`events=changes`)."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A frame that has no event, on purpose.

    Attributes:
        origin: the frame's place; `event_id` is made of it.
        camera_id, frame_id, sequence, captured_at_ms, traceparent: as an event has them.
        reason: a `DropReason`; a str, because a newer worker may know further ones.
        age_ms: capture to the drop's writing, milliseconds, never negative.
    """

    origin: Origin
    camera_id: str
    frame_id: str | None
    sequence: int | None
    captured_at_ms: int
    reason: str
    age_ms: float
    traceparent: str | None = None

    @property
    def event_id(self) -> str:
        """`<topic>/<partition>/<offset>` of the frame: equal for repeats, so a consumer can discard them."""
        return id_of(self.origin)

    def to_json(self) -> bytes:
        """The record's value."""
        origin = self.origin
        return orjson.dumps(
            {
                "schema": DROP_SCHEMA,
                "event_id": self.event_id,
                "camera_id": self.camera_id,
                "frame_id": self.frame_id,
                "sequence": self.sequence,
                "captured_at": to_rfc3339(self.captured_at_ms),
                "reason": self.reason,
                "age_ms": self.age_ms,
                "source": {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset},
            }
        )

    def headers(self) -> list[tuple[str, bytes]]:
        """CloudEvents 1.0 attributes as Kafka headers, and the frame's trace context."""
        return envelope(
            DROP_TYPE,
            self.event_id,
            self.camera_id,
            self.captured_at_ms,
            frame_id=self.frame_id,
            traceparent=self.traceparent,
        )


def drop_from_body(body: dict[str, Any], traceparent: str | None) -> Drop:
    """A drop from its parsed value.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or wrong.
    """
    captured_at_ms = from_rfc3339(body["captured_at"])
    if captured_at_ms is None:
        raise ValueError(f"not a drop of {DROP_SCHEMA}: captured_at {body['captured_at']!r}")
    source = body["source"]
    return Drop(
        origin=Origin(source["topic"], source["partition"], source["offset"]),
        camera_id=body["camera_id"],
        frame_id=body.get("frame_id"),
        sequence=body.get("sequence"),
        captured_at_ms=captured_at_ms,
        reason=body["reason"],
        age_ms=body["age_ms"],
        traceparent=traceparent,
    )
