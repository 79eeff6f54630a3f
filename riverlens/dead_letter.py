"""The dead letter: a frame that could not become an event, kept whole on the topic `frames.dlq`.

Value, key and headers stay as they came; the headers below say why and whence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from riverlens.times import to_rfc3339

REASON = "dlq-reason"
DETAIL = "dlq-detail"
TOPIC = "dlq-topic"
PARTITION = "dlq-partition"
OFFSET = "dlq-offset"
AT = "dlq-at"
CAPTURED_AT = "dlq-captured-at"
NULL_VALUE = "dlq-null-value"
VALUE_OMITTED = "dlq-value-omitted"

_MAX_DETAIL_CHARS = 500


class Reason(StrEnum):
    """The closed list of reasons; a consumer may switch on it."""

    UNDECODABLE = "undecodable"
    """No bytes at all, or those of an image that cannot be decoded (truncated, corrupt, of a rare kind)."""
    TOO_LARGE = "too_large"
    """More bytes or pixels than the limits allow; nothing was allocated for it."""
    UNSUPPORTED = "unsupported"
    """They begin like no image that riverlens reads: another format, or no image (a text file, say)."""
    MODEL_REJECTED = "model_rejected"
    """The model server refused this frame alone."""
    MODEL_TIMEOUT = "model_timeout"
    """This frame alone timed out three times while others passed."""
    REFERENCE_FAILED = "reference_failed"
    """The reference is not allowed, not found, too large or too slow."""
    UNREADABLE = "unreadable"
    """The Kafka record itself cannot be parsed."""
    EVENT_TOO_LARGE = "event_too_large"
    """Its event exceeds what the broker takes."""
    EVENT_REJECTED = "event_rejected"
    """The broker refused its event for good."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the frame lay: topic, partition, offset."""

    topic: str
    partition: int
    offset: int


def dead_letter_headers(
    original: Iterable[tuple[str, bytes | None]],
    *,
    origin: Origin,
    reason: Reason,
    detail: str,
    at_ms: int,
    captured_at_ms: int,
    null_value: bool = False,
) -> list[tuple[str, bytes]]:
    """Headers of a dead letter: the frame's own, less `dlq-*` of an earlier round, then ours.

    `detail` is cut to 500 characters. `null_value` marks a frame whose value was null: it travels as
    b'' because a record without key and value cannot be produced. `captured_at_ms` is kept because the
    frame's record timestamp, which mostly tells it, gives way to the dead letter's own.
    """
    kept = [(name, value or b"") for name, value in original if not name.startswith("dlq-")]
    ours = {
        REASON: reason.value,
        DETAIL: " ".join(detail.split())[:_MAX_DETAIL_CHARS],
        TOPIC: origin.topic,
        PARTITION: str(origin.partition),
        OFFSET: str(origin.offset),
        AT: to_rfc3339(at_ms),
        CAPTURED_AT: to_rfc3339(captured_at_ms),
    }
    if null_value:
        ours[NULL_VALUE] = "true"
    return kept + [(name, text.encode("utf-8", "replace")) for name, text in ours.items()]
