"""The event: what the model saw in one frame, on the topic `detections`.

JSON after `schemas/event.schema.json`, CloudEvents 1.0 binary mode: the headers carry the envelope, the
value only the data. Keyed by the camera id. `read_event` reads one back, and a drop, which may stand in
its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from riverlens.cloud_event import envelope, id_of
from riverlens.dead_letter import Origin
from riverlens.drop import DROP_SCHEMA, Drop, drop_from_body
from riverlens.times import from_rfc3339, to_rfc3339

SCHEMA = "riverlens.detections/1"
EVENT_TYPE = "riverlens.detections.v1"
_BOX_STEPS = 10_000
_SCORE_DIGITS = 4


class Detection(NamedTuple):
    """One object found: `box` is (x1, y1, x2, y2), each 0..1 of the image as a person sees it.

    `zones` names the zones it stands in; None where the worker has none for its camera.
    """

    label: str
    class_id: int
    score: float
    box: tuple[float, float, float, float]
    zones: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """One class of a classifier's answer, `score` as the model gives it."""

    label: str
    class_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answered; `version` comes from the answer, not from a setting."""

    name: str
    version: int
    signature: str


@dataclass(frozen=True, slots=True)
class Event:
    """All that is known of one frame. Exactly one of `detections`, `classes`, `outputs` is not None.

    Attributes:
        origin: the frame's place; `event_id` is made of it, so a repeat has the same id.
        camera_id: the resolved camera.
        frame_id: the producer's name of the frame, or None.
        sequence: the producer's count, or None.
        captured_at_ms: capture time, milliseconds since the epoch.
        image_size: (width, height) in pixels as a person sees the image (EXIF rotation applied).
        model: which model answered.
        timing_ms: milliseconds by stage: broker, queue, decode, predict, total.
        batch_size: rows of the Predict call that this frame shared.
        batch_reason: why the batch left when it did.
        detections: found objects, best score first.
        classes: classes, best score first.
        outputs: any other model's arrays by name, nested lists.
        traceparent: W3C trace context of the frame, or None.
    """

    origin: Origin
    camera_id: str
    frame_id: str | None
    sequence: int | None
    captured_at_ms: int
    image_size: tuple[int, int]
    model: Model
    timing_ms: Mapping[str, float]
    batch_size: int
    batch_reason: str
    detections: Sequence[Detection] | None = None
    classes: Sequence[Classification] | None = None
    outputs: Mapping[str, Any] | None = None
    traceparent: str | None = None

    @property
    def event_id(self) -> str:
        """`<topic>/<partition>/<offset>` of the frame: equal for repeats, so a consumer can discard them."""
        return id_of(self.origin)

    def to_json(self) -> bytes:
        """The record's value."""
        width, height = self.image_size
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "event_id": self.event_id,
            "camera_id": self.camera_id,
            "frame_id": self.frame_id,
            "sequence": self.sequence,
            "captured_at": to_rfc3339(self.captured_at_ms),
            "image": {"width": width, "height": height},
            "model": {
                "name": self.model.name,
                "version": self.model.version,
                "signature": self.model.signature,
            },
        }
        if self.detections is not None:
            body["detections"] = [_detection_json(found, width, height) for found in self.detections]
        elif self.classes is not None:
            body["classes"] = [
                {"label": c.label, "class_id": c.class_id, "score": round(c.score, _SCORE_DIGITS)}
                for c in self.classes
            ]
        else:
            body["outputs"] = self.outputs or {}
        body["timing_ms"] = self.timing_ms
        body["batch"] = {"size": self.batch_size, "reason": self.batch_reason}
        origin = self.origin
        body["source"] = {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)

    def headers(self) -> list[tuple[str, bytes]]:
        """CloudEvents 1.0 attributes as Kafka headers, and the frame's trace context."""
        return envelope(
            EVENT_TYPE,
            self.event_id,
            self.camera_id,
            self.captured_at_ms,
            frame_id=self.frame_id,
            traceparent=self.traceparent,
        )


def _detection_json(found: Detection, width: int, height: int) -> dict[str, Any]:
    # Fractions are never negative: adding a half and cutting off rounds them, in a third of round()'s time.
    label, class_id, score, (x1, y1, x2, y2), zones = found
    body: dict[str, Any] = {
        "label": label,
        "class_id": class_id,
        "score": round(score, _SCORE_DIGITS),
        "box": {
            "x1": int(x1 * _BOX_STEPS + 0.5) / _BOX_STEPS,
            "y1": int(y1 * _BOX_STEPS + 0.5) / _BOX_STEPS,
            "x2": int(x2 * _BOX_STEPS + 0.5) / _BOX_STEPS,
            "y2": int(y2 * _BOX_STEPS + 0.5) / _BOX_STEPS,
        },
        "box_px": {
            "x1": int(x1 * width + 0.5),
            "y1": int(y1 * height + 0.5),
            "x2": int(x2 * width + 0.5),
            "y2": int(y2 * height + 0.5),
        },
    }
    if zones is not None:
        body["zones"] = zones
    return body


def read_event(value: bytes, headers: Sequence[tuple[str, bytes]] | None = ()) -> Event | Drop:
    """Read an event's value (and its headers, for the trace context; None where a client knows none).

    A `Drop` comes only where the worker's `publish_drops` is set.

    Raises:
        ValueError: not JSON, not a riverlens event or drop, or of a schema this version cannot read. Unknown
            fields are ignored, because `/1` may gain optional ones.
    """
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not an event: {error}") from None
    schema = body.get("schema") if isinstance(body, dict) else type(body).__name__
    if schema not in (SCHEMA, DROP_SCHEMA):
        raise ValueError(f"not an event of {SCHEMA}: schema is {schema!r}")
    context = dict(headers or ()).get("traceparent")
    traceparent = context.decode("utf-8", "replace") if context else None
    try:
        return (_event_from_body if schema == SCHEMA else drop_from_body)(body, traceparent)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event of {schema}: {error!r}") from None


def _event_from_body(body: dict[str, Any], traceparent: str | None) -> Event:
    captured_at_ms = from_rfc3339(body["captured_at"])
    if captured_at_ms is None:
        raise ValueError(f"not an event of {SCHEMA}: captured_at {body['captured_at']!r}")
    source, batch = body["source"], body["batch"]
    detections, classes = body.get("detections"), body.get("classes")
    if detections is None and classes is None and "outputs" not in body:
        raise ValueError(f"not an event of {SCHEMA}: neither detections nor classes nor outputs")
    return Event(
        origin=Origin(source["topic"], source["partition"], source["offset"]),
        camera_id=body["camera_id"],
        frame_id=body.get("frame_id"),
        sequence=body.get("sequence"),
        captured_at_ms=captured_at_ms,
        image_size=(body["image"]["width"], body["image"]["height"]),
        model=Model(body["model"]["name"], body["model"]["version"], body["model"]["signature"]),
        timing_ms=body["timing_ms"],
        batch_size=batch["size"],
        batch_reason=batch["reason"],
        detections=None if detections is None else [_read_detection(found) for found in detections],
        classes=None
        if classes is None
        else [Classification(c["label"], c["class_id"], c["score"]) for c in classes],
        outputs=body.get("outputs"),
        traceparent=traceparent,
    )


def _read_detection(found: dict[str, Any]) -> Detection:
    box, zones = found["box"], found.get("zones")
    return Detection(
        found["label"],
        found["class_id"],
        found["score"],
        (box["x1"], box["y1"], box["x2"], box["y2"]),
        None if zones is None else tuple(zones),
    )
