"""The frame: one encoded image on the topic `frames`.

Key: the camera id. Value: the encoded image as it is. Timestamp: capture time. Headers, all optional:
`content-type`, `frame-id`, `sequence`, `captured-at` (RFC 3339, wins over the timestamp), `camera-id`
(read where the key is absent), `traceparent`; and, on frames that came back from the dead letters,
`redriven` (how often) and `redriven-from` (where the frame lay at first). So `kcat -k lobby < photo.jpg`
makes a valid frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from riverlens.times import from_rfc3339, to_rfc3339

CONTENT_TYPE = "content-type"
CAMERA_ID = "camera-id"
FRAME_ID = "frame-id"
SEQUENCE = "sequence"
CAPTURED_AT = "captured-at"
TRACEPARENT = "traceparent"
REDRIVEN = "redriven"
REDRIVEN_FROM = "redriven-from"

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""The largest frame a default topic, producer and worker agree on; a phone photo exceeds Kafka's 1 MB."""

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """What a Kafka client hands out for one message; aiokafka's ConsumerRecord fits."""

    @property
    def partition(self) -> int: ...  # noqa: D102  # named by the Kafka protocol
    @property
    def key(self) -> bytes | None: ...  # noqa: D102  # as above
    @property
    def value(self) -> bytes | None: ...  # noqa: D102  # as above
    @property
    def timestamp(self) -> int: ...  # noqa: D102  # as above
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102  # as above


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one camera.

    Attributes:
        camera_id: never empty once read; `partition-<n>` where the record names no camera.
        image: the encoded image (JPEG, PNG, ...), raw pixels or a reference, as `content_type` says.
        captured_at_ms: capture time, milliseconds since the epoch.
        frame_id: the producer's own name of the frame, or None.
        sequence: the producer's count of the frame within its camera (>= 0), or None.
        content_type: a MIME type; magic bytes win over it.
        traceparent: W3C trace context, or None.
        redriven: how often it came back from the dead letters; 0 for an ordinary frame.
        redriven_from: the event id that it would have had at first (topic/partition/offset), or None.
    """

    camera_id: str
    image: bytes
    captured_at_ms: int
    frame_id: str | None = None
    sequence: int | None = None
    content_type: str | None = None
    traceparent: str | None = None
    redriven: int = 0
    redriven_from: str | None = None

    def key(self) -> bytes:
        """The record's key: the camera id in UTF-8."""
        return self.camera_id.encode("utf-8", "replace")

    def headers(self) -> list[tuple[str, bytes]]:
        """The record's headers, only those that have a value."""
        pairs = (
            (CONTENT_TYPE, self.content_type),
            (FRAME_ID, self.frame_id),
            (SEQUENCE, None if self.sequence is None else str(self.sequence)),
            (CAPTURED_AT, to_rfc3339(self.captured_at_ms)),
            (TRACEPARENT, self.traceparent),
            (REDRIVEN, str(self.redriven) if self.redriven else None),
            (REDRIVEN_FROM, self.redriven_from),
        )
        return [(name, value.encode("utf-8", "replace")) for name, value in pairs if value is not None]


def read_frame(record: Record) -> Frame:
    """Read any record as a frame. Never raises: what cannot be read is left out.

    A null value reads as an empty image; repeated headers: the last one counts, as Kafka's own
    `lastHeader` does.
    """
    headers = _text_headers(record.headers)
    captured_at = headers.get(CAPTURED_AT)
    captured_at_ms = from_rfc3339(captured_at) if captured_at else None
    return Frame(
        camera_id=_camera_id(record, headers),
        image=record.value or b"",
        captured_at_ms=record.timestamp if captured_at_ms is None else captured_at_ms,
        frame_id=headers.get(FRAME_ID),
        sequence=_sequence(headers.get(SEQUENCE)),
        content_type=headers.get(CONTENT_TYPE),
        traceparent=headers.get(TRACEPARENT),
        redriven=_sequence(headers.get(REDRIVEN)) or 0,
        redriven_from=headers.get(REDRIVEN_FROM),
    )


def _camera_id(record: Record, headers: dict[str, str]) -> str:
    if record.key:
        return record.key.decode("utf-8", "backslashreplace")
    return headers.get(CAMERA_ID) or f"partition-{record.partition}"


def _text_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    return {name: value.decode("utf-8", "backslashreplace") for name, value in headers if value}


def _sequence(text: str | None) -> int | None:
    # isdecimal alone accepts other scripts' digits; 18 digits always fit a signed 64-bit integer.
    if text and len(text) <= 18 and text.isascii() and text.isdecimal():  # noqa: PLR2004  # as said
        return int(text)
    return None
