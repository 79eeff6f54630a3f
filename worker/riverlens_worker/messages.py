"""What travels between the stages: each is made by one stage and read by the next, never changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens.event import Classification, Detection
from riverlens.frame import Frame
from riverlens.trace_context import TraceContext
from riverlens_worker.message import message
from riverlens_worker.offsets import PartitionLease


class Outcome(StrEnum):
    """How a frame ends; every frame read ends in exactly one."""

    PUBLISHED = "published"
    DROPPED = "dropped"
    DEAD_LETTERED = "dead_lettered"
    FENCED = "fenced"


class BatchReason(StrEnum):
    """Why a batch left when it did."""

    FULL = "full"
    """It held as many rows as a call may just then."""
    BYTES = "bytes"
    """One more frame would have passed the byte limit."""
    DEVICE_FREE = "device_free"
    """The device could take it."""
    DEADLINE = "deadline"
    """Waiting longer would have broken the latency target."""
    SHAPE = "shape"
    """Frames of another shape were waiting longer."""
    DRAIN = "drain"
    """The worker is stopping."""


@message
class LeasedFrame:
    """A frame inside the worker: the message, its place, and the lease it came under.

    Attributes:
        offset: its offset in the lease's partition.
        ordinal: its place within the lease, counted from 0 without gaps.
        key, headers, null_value: the record as it came, for a dead letter.
        nbytes: encoded size, fetched bytes included: the room it takes.
        arrived_s: when the worker read it (monotonic clock, seconds).
        broker_ms: capture to `arrived_s`, milliseconds, never negative.
        fetched: what the frame's reference names; None where the frame is the image itself.
    """

    lease: PartitionLease
    offset: int
    ordinal: int
    frame: Frame
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    null_value: bool
    nbytes: int
    arrived_s: float
    broker_ms: float
    fetched: bytes | None = None

    @property
    def image(self) -> bytes:
        """The encoded image: what the record held, or what its reference named."""
        return self.frame.image if self.fetched is None else self.fetched

    @property
    def content_type(self) -> str | None:
        """The content type to read `image` by; what was fetched is told by its magic bytes alone."""
        return self.frame.content_type if self.fetched is None else None


@message
class DecodedFrame:
    """A frame that the model can take.

    Attributes:
        row: encoded bytes (DT_STRING input) or pixels, uint8 or float32 [H, W, 3]; b"" once answered.
        shape: rows of one batch have equal shapes: (H, W), or () for encoded bytes.
        nbytes: size of `row`.
        size: (width, height) of the image as a person sees it.
        decode_ms: time spent reading or decoding.
        ready_s: when it could join a batch (monotonic).
        reencoded: why `row` is not the frame's own bytes; "" where it is, or holds pixels.
    """

    source: LeasedFrame
    row: bytes | NDArray[np.generic]
    shape: Hashable
    nbytes: int
    size: tuple[int, int]
    decode_ms: float
    ready_s: float
    reencoded: str = ""


@message
class Rejected:
    """A frame that becomes no event, and why. `reason` is a dead letter's reason or a drop's."""

    source: LeasedFrame
    outcome: Outcome
    reason: str
    detail: str = ""


@message
class Batch:
    """Frames that share one Predict call: at least one, equal shapes. Sealed, never re-opened."""

    frames: Sequence[DecodedFrame]
    reason: BatchReason
    sealed_s: float


@message
class Answer:
    """What the model said of one frame: exactly one of the three is not None."""

    detections: Sequence[Detection] | None = None
    classes: Sequence[Classification] | None = None
    outputs: Mapping[str, Any] | None = None


@message
class Prediction:
    """A frame with the model's answer.

    Attributes:
        version: the model version that answered, as the answer names it.
        predict_ms: time of the call that answered; calls that failed before it count as queue.
        batch_size, batch_reason: the call it shared.
        queue_ms: all waiting inside the worker before the call.
        answered_s: when the answer was there (monotonic).
        call: the call's span; None where tracing is off, or none of its frames is sampled.
    """

    source: DecodedFrame
    answer: Answer
    version: int
    predict_ms: float
    batch_size: int
    batch_reason: BatchReason
    queue_ms: float
    answered_s: float
    call: TraceContext | None = None


@message
class Settled:
    """The one thing that travels back: this frame has its outcome. `reason` is "" where there is none."""

    source: LeasedFrame
    outcome: Outcome
    reason: str = ""


def frame_of(result: Prediction | Rejected) -> LeasedFrame:
    """The frame that an answer or a rejection is about."""
    return result.source.source if isinstance(result, Prediction) else result.source


def dead_letter(source: LeasedFrame, reason: Reason, detail: str) -> Rejected:
    """The frame goes to the dead letters, with a reason of the closed list."""
    return Rejected(source, Outcome.DEAD_LETTERED, reason.value, detail)


def dropped(source: LeasedFrame, reason: DropReason) -> Rejected:
    """The frame has no event, on purpose: by its camera's policy, or because nothing changed."""
    return Rejected(source, Outcome.DROPPED, reason.value)


def fenced(source: LeasedFrame) -> Rejected:
    """The frame's partition was taken away; its next owner reads it again."""
    return Rejected(source, Outcome.FENCED, "")
