"""Which spans a frame and a call have, and what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens.trace_context import TraceContext, read_traceparent
from riverlens.trace_span import Span, SpanKind
from riverlens_worker.messages import (
    Answer,
    BatchReason,
    DecodedFrame,
    LeasedFrame,
    Outcome,
    Prediction,
    Rejected,
    dead_letter,
    dropped,
)
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher.outbox import Topics, dead_letter_record, event_record, instead, with_trace
from riverlens_worker.spans import (
    Clock,
    FrameTrace,
    Names,
    Sampling,
    Traced,
    call_span,
    call_trace,
    frame_spans,
    frame_trace,
    passed_span,
)
from tests.worker_parts import leased

PARENT = TraceContext(0xABCD, 0x1234, sampled=True)
ALL = Sampling(1.0, "salt")
NONE = Sampling(0.0, "salt")
NAMES = Names("group", "detections", "frames.dlq")
TOPICS = Topics("detections", "frames.dlq", "street", "serving_default")
# 50 s after the monotonic clock's zero it is this long after 1970.
CLOCK = Clock(1_790_000_050_000_000_000, 50.0)
ZERO_NS = 1_790_000_000_000_000_000


def _frame(traceparent: str | None = PARENT.traceparent(), offset: int = 7) -> LeasedFrame:
    source = leased(PartitionLease("frames", 3), offset)
    frame = replace(source.frame, traceparent=traceparent, frame_id="f7")
    return replace(source, frame=frame, arrived_s=40.0, broker_ms=12.0)


def _prediction(source: LeasedFrame, call: TraceContext | None = None) -> Prediction:
    decoded = DecodedFrame(source, b"", (), 10, (4, 4), decode_ms=500.0, ready_s=42.0)
    return Prediction(
        decoded, Answer(detections=()), 2, predict_ms=2_000.0, batch_size=9, batch_reason=BatchReason.FULL,
        queue_ms=0.0, answered_s=46.0, call=call,
    )  # fmt: skip


def _traced(result: Prediction | Rejected, source: LeasedFrame) -> Traced:
    trace = frame_trace(source, ALL)
    assert trace is not None
    return Traced(trace, result, made_s=47.0)


def _seconds(span: Span) -> tuple[float, float]:
    return (span.start_ns - ZERO_NS) / 1e9, (span.end_ns - ZERO_NS) / 1e9


@pytest.mark.parametrize(
    ("header", "sampling", "sampled"),
    [
        (PARENT.traceparent(), NONE, True),
        (replace(PARENT, sampled=False).traceparent(), ALL, False),
        (None, ALL, True),
        (None, NONE, False),
        ("nonsense", ALL, True),
        ("nonsense", NONE, False),
    ],
)
def test_the_parent_decides_who_is_sampled(header: str | None, sampling: Sampling, sampled: bool) -> None:  # noqa: FBT001  # a table's column
    """What came with a context is sampled as that says; only without one the ratio counts."""
    trace = frame_trace(_frame(header), sampling)
    assert (trace is not None) == sampled
    if trace is not None:
        follows = header == PARENT.traceparent()
        assert (trace.parent == PARENT) == follows
        assert (trace.process.trace_id == PARENT.trace_id) == follows


def test_a_frames_ids_are_its_own() -> None:
    """Asked again they are the same; another frame, another reading and another worker have others."""
    source = _frame()
    trace = frame_trace(source, ALL)
    assert trace is not None
    assert frame_trace(source, ALL) == trace
    others = [
        frame_trace(_frame(offset=8), ALL),
        frame_trace(replace(source, arrived_s=41.0), ALL),
        frame_trace(source, Sampling(1.0, "pepper")),
    ]
    spans = {trace.process.span_id, trace.send.span_id}
    for other in others:
        assert other is not None
        spans |= {other.process.span_id, other.send.span_id}
    assert len(spans) == 8


def test_a_published_frame_has_a_span_a_stage() -> None:
    """Process spans its time in the worker; its children follow each other without a gap."""
    source, call = _frame(), TraceContext(5, 6, sampled=True)
    traced = _traced(_prediction(source, call), source)
    spans = {span.name: span for span in frame_spans(traced, Outcome.PUBLISHED, NAMES, CLOCK)}
    assert {name: _seconds(span) for name, span in spans.items()} == {
        "process frames": (40.0, 50.0),
        "queue decode": (40.0, 41.5),
        "decode": (41.5, 42.0),
        "queue predict": (42.0, 44.0),
        "predict": (44.0, 46.0),
        "queue order": (46.0, 47.0),
        "send detections": (47.0, 50.0),
    }
    process = spans.pop("process frames")
    assert (process.parent, process.kind, process.error) == (PARENT, SpanKind.CONSUMER, None)
    assert {span.parent for span in spans.values()} == {process.context}
    assert {span.context.trace_id for span in spans.values()} == {PARENT.trace_id}
    assert len({span.context.span_id for span in spans.values()}) == len(spans)
    assert spans["predict"].links == (call,)
    assert spans["send detections"].kind is SpanKind.PRODUCER


def test_a_frame_says_what_it_is_and_what_became_of_it() -> None:
    """Attributes name camera, place, outcome and call, by the semantic conventions where there is a name."""
    source = _frame()
    traced = _traced(_prediction(source), source)
    attributes = frame_spans(traced, Outcome.PUBLISHED, NAMES, CLOCK)[0].attributes
    assert attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "frames",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "messaging.consumer.group.name": "group",
        "messaging.message.id": "frames/3/7",
        "messaging.message.body.size": 5,
        "riverlens.camera": "lobby",
        "riverlens.frame_id": "f7",
        "riverlens.broker_ms": 12.0,
        "riverlens.outcome": "published",
        "riverlens.batch.size": 9,
        "riverlens.batch.reason": "full",
        "riverlens.model.version": 2,
    }


def test_a_dead_letter_is_an_error() -> None:
    """It has the reason as its type, the detail as its text, and was sent to the dead letters."""
    source = _frame()
    rejected = dead_letter(source, Reason.UNDECODABLE, "broken")
    process, send = frame_spans(_traced(rejected, source), Outcome.DEAD_LETTERED, NAMES, CLOCK)
    assert (process.error, process.attributes["error.type"]) == ("broken", "undecodable")
    assert (send.name, _seconds(send)) == ("send frames.dlq", (47.0, 50.0))


def test_a_drop_without_a_record_has_one_span() -> None:
    """It ends when its turn has come, with the reason, and is no error."""
    source = _frame()
    trace = frame_trace(source, ALL)
    assert trace is not None
    span = passed_span(dropped(source, DropReason.STALE), trace, NAMES, CLOCK)
    assert span.attributes["riverlens.reason"] == "stale"
    assert (span.error, span.context, _seconds(span)) == (None, trace.process, (40.0, 50.0))


def test_what_was_given_up_was_not_sent() -> None:
    """A frame whose partition moved on has no span of sending."""
    source = _frame()
    traced = _traced(_prediction(source), source)
    names = [span.name for span in frame_spans(traced, Outcome.FENCED, NAMES, CLOCK)]
    assert not [name for name in names if name.startswith("send")]


def test_a_call_links_to_each_of_its_sampled_frames() -> None:
    """The links are the frames' own spans; frames that are not sampled have none."""
    sources = [_frame(offset=number) for number in range(3)]
    quiet = _frame(replace(PARENT, sampled=False).traceparent(), offset=9)
    trace = call_trace([*sources, quiet], NONE, 1)
    assert trace is not None
    wanted = [frame_trace(source, NONE) for source in sources]
    assert trace.links == tuple(found.process for found in wanted if found is not None)
    assert len(trace.links) == 3
    assert trace.metadata == (("traceparent", trace.context.traceparent()),)
    assert call_trace([quiet], NONE, 2) is None
    other = call_trace(sources, NONE, 2)
    assert other is not None
    assert other.context != trace.context


def test_a_calls_span_names_method_and_server() -> None:
    """By the conventions of gRPC: the full method, address and port."""
    trace = call_trace([_frame()], NONE, 1)
    assert trace is not None
    span = call_span(trace, (1, 2), {"riverlens.rows": 1}, "10.0.0.5:8500", "away")
    assert span.name == span.attributes["rpc.method"] == "tensorflow.serving.PredictionService/Predict"
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("10.0.0.5", 8500)
    assert (span.kind, span.parent, span.error) == (SpanKind.CLIENT, None, "away")


def _context_of(headers: object) -> list[TraceContext | None]:
    assert isinstance(headers, list | tuple)
    return [read_traceparent(value.decode()) for name, value in headers if name == "traceparent"]


def test_an_event_names_the_workers_span_and_a_dead_letter_the_frames() -> None:
    """Consumers of events go on from our span; a dead letter is the frame as it came."""
    source = replace(_frame(), headers=[("traceparent", PARENT.traceparent().encode())])
    prediction = _prediction(source)
    traced = _traced(prediction, source)
    event = event_record(prediction, TOPICS, 0)
    assert with_trace(event, None) is event
    assert _context_of(event.headers) == [PARENT]
    sent = with_trace(event, traced)
    assert _context_of(sent.headers) == [traced.trace.send]
    rejected = dead_letter(source, Reason.UNDECODABLE, "broken")
    letter = with_trace(dead_letter_record(rejected, TOPICS, 0), _traced(rejected, source))
    assert _context_of(letter.headers) == [PARENT]
    refused = instead(sent, "frames.dlq", ValueError("no"), too_large=True)
    assert refused is not None
    assert refused.traced is traced
    assert frame_spans(traced, Outcome.DEAD_LETTERED, NAMES, CLOCK)[0].error


def test_a_frame_without_a_context_gets_one_in_its_event() -> None:
    """Where the worker began the trace, its consumers can follow it."""
    source = _frame(None)
    prediction = _prediction(source)
    traced = _traced(prediction, source)
    assert isinstance(traced.trace, FrameTrace)
    assert traced.trace.parent is None
    sent = with_trace(event_record(prediction, TOPICS, 0), traced)
    assert _context_of(sent.headers) == [traced.trace.send]
