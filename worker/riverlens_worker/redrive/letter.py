"""A dead letter as it is read, and the frame that is made of it again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from riverlens.dead_letter import (
    AT,
    CAPTURED_AT,
    NULL_VALUE,
    OFFSET,
    PARTITION,
    REASON,
    TOPIC,
    VALUE_OMITTED,
    Origin,
)
from riverlens.frame import CAPTURED_AT as FRAME_CAPTURED_AT
from riverlens.frame import REDRIVEN, REDRIVEN_FROM, read_frame
from riverlens.times import from_rfc3339, to_rfc3339

Headers = Sequence[tuple[str, bytes]]


class LetterRecord(Protocol):
    """A record of the dead letter topic; aiokafka's ConsumerRecord fits."""

    @property
    def partition(self) -> int: ...  # noqa: D102  # named by the Kafka protocol
    @property
    def offset(self) -> int: ...  # noqa: D102  # as above
    @property
    def key(self) -> bytes | None: ...  # noqa: D102  # as above
    @property
    def value(self) -> bytes | None: ...  # noqa: D102  # as above
    @property
    def timestamp(self) -> int: ...  # noqa: D102  # as above
    @property
    def headers(self) -> Headers: ...  # noqa: D102  # as above


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter.

    Attributes:
        partition, offset: its own place on the dead letter topic.
        origin: where its frame lay.
        reason: as it stands there.
        at_ms: when it was set aside, epoch milliseconds.
        captured_at_ms: the frame's capture time; None where the letter does not tell.
        camera_id: as the frame is read.
        key, value, headers: the frame as it came; `headers` without those of dead letters.
        omitted: the frame was too large for the letter to hold its value.
        times: how often the frame had come back before it was set aside.
        first: the event id that it would have had at first.
    """

    partition: int
    offset: int
    origin: Origin
    reason: str
    at_ms: int
    captured_at_ms: int | None
    camera_id: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    omitted: bool
    times: int
    first: str

    @property
    def nbytes(self) -> int:
        """Size of the frame."""
        return len(self.value or b"")


@dataclass(frozen=True, slots=True)
class _FrameRecord:
    """The frame's record as it was, for reading it as one."""

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers


def read_letter(record: LetterRecord) -> Letter | None:
    """Read a record as a dead letter; None where it does not say whence it came, so is none. Never raises."""
    told = {name: value.decode("utf-8", "replace") for name, value in record.headers if value}
    partition, offset = _number(told.get(PARTITION)), _number(told.get(OFFSET))
    if REASON not in told or TOPIC not in told or partition is None or offset is None:
        return None
    own = tuple((name, value) for name, value in record.headers if not name.startswith("dlq-"))
    value = None if NULL_VALUE in told else record.value
    captured_at_ms = from_rfc3339(told.get(CAPTURED_AT, ""))
    at_ms = from_rfc3339(told.get(AT, ""))
    frame = read_frame(_FrameRecord(partition, record.key, value, captured_at_ms or 0, own))
    origin = Origin(told[TOPIC], partition, offset)
    here = f"{origin.topic}/{partition}/{offset}"
    return Letter(
        partition=record.partition,
        offset=record.offset,
        origin=origin,
        reason=told[REASON],
        at_ms=record.timestamp if at_ms is None else at_ms,
        captured_at_ms=captured_at_ms,
        camera_id=frame.camera_id,
        key=record.key,
        value=value,
        headers=own,
        omitted=VALUE_OMITTED in told,
        times=frame.redriven,
        first=frame.redriven_from if frame.redriven and frame.redriven_from else here,
    )


def frame_headers(letter: Letter) -> list[tuple[str, bytes]]:
    """Headers of the frame that goes back: its own, its capture time, how often, and whence at first.

    The capture time is added where its own headers do not tell it: the record's timestamp, which did, is
    now that of writing.
    """
    headers = [pair for pair in letter.headers if pair[0] not in {REDRIVEN, REDRIVEN_FROM}]
    told = [value for name, value in headers if name == FRAME_CAPTURED_AT and value]
    if letter.captured_at_ms is not None and (
        not told or from_rfc3339(told[-1].decode("utf-8", "replace")) is None
    ):
        headers.append((FRAME_CAPTURED_AT, to_rfc3339(letter.captured_at_ms).encode()))
    headers.append((REDRIVEN, b"%d" % (letter.times + 1)))
    headers.append((REDRIVEN_FROM, letter.first.encode()))
    return headers


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
