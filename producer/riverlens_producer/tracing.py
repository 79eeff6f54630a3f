"""Begins a trace with each frame that goes to Kafka; there only where tracing is on."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from riverlens.frame import Frame
from riverlens.frame_buffer import WhenFull
from riverlens.frame_delivery import Outcome
from riverlens.trace_context import TraceContext, in_share, read_traceparent
from riverlens.trace_span import Span, SpanKind, Value
from riverlens.tracing import SpanExport
from riverlens_producer.camera import Sink


class TracedSink:
    """A `Sink` in front of another: names each frame's trace in `traceparent`, and tells its root span.

    The span lasts from the call to the acknowledgement. All frames say whether they are sampled, so that what
    follows asks no dice of its own.

    Args:
        ratio: share of the frames that are sampled, 0 to 1.
    """

    def __init__(self, inner: Sink, export: SpanExport, *, topic: str, ratio: float) -> None:
        self._inner = inner
        self._export = export
        self._topic = topic
        self._ratio = ratio
        self._started: dict[str, int] = {}
        self._random = random.SystemRandom()

    async def send(
        self, frame: Frame, *, when_full: WhenFull | None = None, partition: int | None = None
    ) -> bool:
        """As FrameProducer.send."""
        # A frame that brings a context of its own keeps it.
        if frame.traceparent is not None:
            return await self._inner.send(frame, when_full=when_full, partition=partition)
        context = self._new_context()
        header = context.traceparent()
        if context.sampled:
            self._started[header] = time.time_ns()
        try:
            return await self._inner.send(
                replace(frame, traceparent=header), when_full=when_full, partition=partition
            )
        except BaseException:
            # It was never sent: nobody will settle it.
            self._started.pop(header, None)
            raise

    def settled(self, frame: Frame, outcome: Outcome) -> None:
        """The frame's journey has ended: so does its span, if it has one."""
        header = frame.traceparent
        start_ns = None if header is None else self._started.pop(header, None)
        if header is not None and start_ns is not None:
            self._export.put([send_span(frame, header, outcome, self._topic, (start_ns, time.time_ns()))])

    def _new_context(self) -> TraceContext:
        trace_id, span_id = self._random.getrandbits(128) or 1, self._random.getrandbits(64) or 1
        return TraceContext(trace_id, span_id, in_share(trace_id, self._ratio))


def send_span(frame: Frame, header: str, outcome: Outcome, topic: str, times_ns: tuple[int, int]) -> Span:
    """The root span of one frame, by https://opentelemetry.io/docs/specs/semconv/messaging/kafka/."""
    context = read_traceparent(header)
    assert context is not None  # noqa: S101  # we wrote it
    attributes: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.message.body.size": len(frame.image),
        "riverlens.camera": frame.camera_id,
        "riverlens.outcome": outcome.value,
    }
    if frame.frame_id is not None:
        attributes["riverlens.frame_id"] = frame.frame_id
    error = None
    if outcome is Outcome.FAILED:
        attributes["error.type"] = outcome.value
        error = "Kafka did not take the frame"
    start_ns, end_ns = times_ns
    return Span(f"send {topic}", SpanKind.PRODUCER, context, None, start_ns, end_ns, attributes, error=error)
