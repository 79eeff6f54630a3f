"""Which spans a frame and a call have, from their known times, after the fact. Pure.

    send frames                       the producer's, in its own process
    +- process frames                 read until settled
       +- queue decode, decode, queue predict, predict -> link to the call, queue order
       +- send detections             the event's header `traceparent` names this one
    tensorflow.serving.PredictionService/Predict    a trace of its own, with a link to each of its frames

Names and attributes: https://opentelemetry.io/docs/specs/semconv/messaging/kafka/ and .../semconv/rpc/grpc/;
what they do not know is `riverlens.*`. Ids are made of the frame's place, so that the call can link to spans
that are told later, and no stage between has to know of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from riverlens.cloud_event import id_of
from riverlens.dead_letter import Origin
from riverlens.trace_context import TraceContext, derived_id, in_share, read_traceparent
from riverlens.trace_span import Span, SpanKind, Value
from riverlens_worker.messages import LeasedFrame, Outcome, Prediction, Rejected, frame_of

PREDICT_METHOD = "tensorflow.serving.PredictionService/Predict"
_TRACE_BYTES = 16
_SPAN_BYTES = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """Whose frames are traced: those that came sampled, and a share of those that came without a context.

    Attributes:
        ratio: that share, 0 to 1.
        salt: told apart by it: two workers that read one frame.
    """

    ratio: float
    salt: str


@dataclass(frozen=True, slots=True)
class Names:
    """What is the same in all spans of one worker: its group, and the topics that it writes to."""

    group: str
    events_topic: str
    dlq_topic: str


@dataclass(frozen=True, slots=True)
class Clock:
    """One moment on both clocks: nanoseconds since the epoch, and monotonic seconds."""

    wall_ns: int
    monotonic_s: float

    def ns(self, monotonic_s: float) -> int:
        """That other moment since the epoch."""
        return self.wall_ns - int((self.monotonic_s - monotonic_s) * 1e9)


@dataclass(frozen=True, slots=True)
class FrameTrace:
    """A sampled frame's place in its trace.

    Attributes:
        parent: the producer's span; None where the trace begins here.
        process: the span of its whole time in the worker.
        send: that of its event's way to Kafka.
    """

    parent: TraceContext | None
    process: TraceContext
    send: TraceContext


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What a sampled frame's record keeps until Kafka has acknowledged it.

    Attributes:
        made_s: when the record was made (monotonic).
    """

    trace: FrameTrace
    result: Prediction | Rejected
    made_s: float


@dataclass(frozen=True, slots=True)
class CallTrace:
    """A Predict call with sampled frames: its own place, and their `process` spans."""

    context: TraceContext
    links: tuple[TraceContext, ...]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What the call tells the model server, as gRPC metadata."""
        return (("traceparent", self.context.traceparent()),)


def frame_trace(source: LeasedFrame, sampling: Sampling) -> FrameTrace | None:
    """The frame's place in its trace; None where it is not sampled."""
    header = source.frame.traceparent
    parent = read_traceparent(header) if header else None
    if parent is not None and not parent.sampled:
        return None
    # The time of reading tells two leases apart that bring the same frame.
    place = sampling.salt, source.lease.topic, source.lease.partition, source.offset, source.arrived_s
    trace_id = derived_id(_TRACE_BYTES, *place) if parent is None else parent.trace_id
    if parent is None and not in_share(trace_id, sampling.ratio):
        return None
    process, send = (
        TraceContext(trace_id, derived_id(_SPAN_BYTES, *place, name), sampled=True)
        for name in ("process", "send")
    )
    return FrameTrace(parent, process, send)


def call_trace(sources: Iterable[LeasedFrame], sampling: Sampling, number: int) -> CallTrace | None:
    """The place of a Predict call, the worker's `number`-th; None where none of its frames is sampled."""
    traces = (frame_trace(source, sampling) for source in sources)
    links = tuple(trace.process for trace in traces if trace is not None)
    if not links:
        return None
    trace_id, span_id = (derived_id(size, sampling.salt, number) for size in (_TRACE_BYTES, _SPAN_BYTES))
    return CallTrace(TraceContext(trace_id, span_id, sampled=True), links)


def call_span(
    trace: CallTrace, times_ns: tuple[int, int], facts: dict[str, Value], server: str, error: str | None
) -> Span:
    """The span of one Predict call. `times_ns`: from its start to its answer; `facts`: `riverlens.*`."""
    host, _, port = server.rpartition(":")
    attributes: dict[str, Value] = {
        "rpc.system.name": "grpc",
        "rpc.method": PREDICT_METHOD,
        "server.address": host,
        "server.port": int(port) if port.isdecimal() else 0,
        **facts,
    }
    start_ns, end_ns = times_ns
    return Span(
        PREDICT_METHOD, SpanKind.CLIENT, trace.context, None, start_ns, end_ns, attributes, trace.links, error
    )


def frame_spans(traced: Traced, outcome: Outcome, names: Names, clock: Clock) -> list[Span]:
    """All spans of a settled frame. `clock` is the moment of settling: the end of its time in the worker."""
    result, trace = traced.result, traced.trace
    source = frame_of(result)
    attributes = _attributes(source, names) | _said(result, outcome)
    # An event that Kafka refuses ends as a dead letter, with a reason of Kafka's.
    failed = outcome is Outcome.DEAD_LETTERED
    error = None
    if failed:
        error = result.detail or result.reason if isinstance(result, Rejected) else "Kafka refused the event"
    start_ns, end_ns = clock.ns(source.arrived_s), clock.wall_ns
    whole = Span(
        f"process {source.lease.topic}", SpanKind.CONSUMER, trace.process, trace.parent, start_ns, end_ns,
        attributes, error=error,
    )  # fmt: skip
    spans = [whole]
    if isinstance(result, Prediction):
        spans += _stage_spans(result, traced, clock)
    if outcome is not Outcome.FENCED:
        spans.append(_send_span(traced, names.dlq_topic if failed else names.events_topic, clock))
    return spans


def passed_span(rejected: Rejected, trace: FrameTrace, names: Names, clock: Clock) -> Span:
    """The span of a frame that settles without a record."""
    source = rejected.source
    return Span(
        f"process {source.lease.topic}", SpanKind.CONSUMER, trace.process, trace.parent,
        clock.ns(source.arrived_s), clock.wall_ns,
        _attributes(source, names) | _said(rejected, rejected.outcome),
    )  # fmt: skip


def _stage_spans(prediction: Prediction, traced: Traced, clock: Clock) -> list[Span]:
    decoded = prediction.source
    ready_s, answered_s = decoded.ready_s, prediction.answered_s
    called_s = answered_s - prediction.predict_ms / 1000
    # A frame that took over an overtaken one's place among the rows has that one's time.
    read_s = max(decoded.source.arrived_s, ready_s - decoded.decode_ms / 1000)
    ready_s = max(read_s, ready_s)
    steps = (
        ("queue decode", decoded.source.arrived_s, read_s),
        ("decode", read_s, ready_s),
        ("queue predict", ready_s, max(ready_s, called_s)),
        ("predict", called_s, answered_s),
        ("queue order", answered_s, traced.made_s),
    )
    links = () if prediction.call is None else (prediction.call,)
    return [
        Span(
            name, SpanKind.INTERNAL, _child(traced.trace, name), traced.trace.process,
            clock.ns(start_s), clock.ns(end_s), links=links if name == "predict" else (),
        )
        for name, start_s, end_s in steps
    ]  # fmt: skip


def _send_span(traced: Traced, topic: str, clock: Clock) -> Span:
    attributes: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }
    start_ns = clock.ns(traced.made_s)
    trace = traced.trace
    return Span(
        f"send {topic}", SpanKind.PRODUCER, trace.send, trace.process, start_ns, clock.wall_ns, attributes
    )


def _child(trace: FrameTrace, name: str) -> TraceContext:
    process = trace.process
    return TraceContext(process.trace_id, derived_id(_SPAN_BYTES, process.span_id, name), sampled=True)


def _attributes(source: LeasedFrame, names: Names) -> dict[str, Value]:
    lease, frame = source.lease, source.frame
    attributes: dict[str, Value] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": lease.topic,
        "messaging.destination.partition.id": str(lease.partition),
        "messaging.kafka.offset": source.offset,
        "messaging.consumer.group.name": names.group,
        "messaging.message.id": id_of(Origin(lease.topic, lease.partition, source.offset)),
        "messaging.message.body.size": source.nbytes,
        "riverlens.camera": frame.camera_id,
        "riverlens.broker_ms": round(source.broker_ms, 1),
    }
    if frame.frame_id is not None:
        attributes["riverlens.frame_id"] = frame.frame_id
    return attributes


def _said(result: Prediction | Rejected, outcome: Outcome) -> dict[str, Value]:
    said: dict[str, Value] = {"riverlens.outcome": outcome.value}
    if isinstance(result, Prediction):
        said["riverlens.batch.size"] = result.batch_size
        said["riverlens.batch.reason"] = result.batch_reason.value
        said["riverlens.model.version"] = result.version
    elif result.reason:
        said["riverlens.reason"] = result.reason
        if outcome is Outcome.DEAD_LETTERED:
            said["error.type"] = result.reason
    return said
