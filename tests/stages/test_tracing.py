"""Spans on their way out, to a real collector: nothing waits for it, and what it does not take is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from riverlens.dead_letter import Reason
from riverlens.frame import Frame
from riverlens.frame_buffer import WhenFull
from riverlens.frame_producer import FrameTooLargeError, Outcome
from riverlens.logs import set_up_logs
from riverlens.trace_context import TraceContext, read_traceparent
from riverlens.trace_counts import SpanCounts
from riverlens.trace_export import MAX_WAITING, TRY_FOR_S, TraceExport
from riverlens.trace_span import Span, SpanKind
from riverlens.tracing import traces_url
from riverlens_producer.tracing import TracedSink
from riverlens_worker.endpoints import Endpoint
from riverlens_worker.messages import BatchReason, DecodedFrame, Prediction, dead_letter
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.pieces import Piece
from riverlens_worker.predictor.call import Caller
from riverlens_worker.publisher.notices import EVERY_S, LetterNotices
from riverlens_worker.publisher.outbox import Topics, dead_letter_record, with_trace
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.spans import FrameTrace, Traced
from riverlens_worker.tracing import Tracer
from tests.harness.collector import Collector, collecting
from tests.harness.scripted_server import Behave, ScriptedServer, model_of, refuses
from tests.harness.waiting import wait_for
from tests.worker_parts import leased

PARENT = TraceContext(0xABCD, 0x1234, sampled=True)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector for one test."""
    async with collecting() as running:
        yield running


class Kept:
    """Keeps spans, as an export that never sends them."""

    def __init__(self) -> None:
        self.exported = self.dropped = self.failed = 0
        self.spans: list[Span] = []

    def put(self, spans: Iterable[Span]) -> None:
        """Keep them."""
        self.spans += spans

    async def close(self, timeout_s: float) -> None:
        """Nothing waits."""


def _span(number: int) -> Span:
    context = TraceContext(1, number + 1, sampled=True)
    return Span(
        "decode", SpanKind.INTERNAL, context, PARENT, 5, 9, {"riverlens.camera": "höhe"}, (PARENT,), "broken"
    )


def _export(collector: Collector) -> TraceExport:
    return TraceExport(traces_url(collector.url), "riverlens-test")


async def test_a_span_arrives_as_it_is(collector: Collector) -> None:
    """Ids, times, attributes, links and failure survive; closing sends what waits."""
    export = _export(collector)
    export.put([_span(0)])
    await export.close(30.0)
    (seen,) = collector.spans
    assert (seen.service, seen.name, seen.kind) == ("riverlens-test", "decode", "INTERNAL")
    assert (seen.trace_id, seen.span_id, seen.parent_id) == (f"{1:032x}", f"{1:016x}", f"{0x1234:016x}")
    assert (seen.start_ns, seen.end_ns, seen.error) == (5, 9, True)
    assert seen.attributes == {"riverlens.camera": "höhe"}
    assert seen.links == [(f"{0xABCD:032x}", f"{0x1234:016x}")]
    assert (export.exported, export.dropped, export.failed) == (1, 0, 0)


async def test_a_collector_that_stands_still_holds_nobody_up(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Spans beyond the queue are dropped and counted; closing ends in its time, not in the collector's."""
    collector.release.clear()
    export = _export(collector)
    # It never answers: whoever waited for it would wait here.
    export.put(map(_span, range(MAX_WAITING + 100)))
    assert (export.dropped, export.waiting) == (100, MAX_WAITING)
    started_s = time.monotonic()
    await export.close(0.3)
    assert time.monotonic() - started_s < TRY_FOR_S
    assert "are given up" in caplog.text
    registry = CollectorRegistry()
    registry.register(SpanCounts(export))
    assert 'riverlens_trace_spans_total{outcome="dropped"} 100.0' in generate_latest(registry).decode()


async def test_a_refusing_collector_is_named_once(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Its refusals are counted; one line says so, and which setting it is about."""
    collector.status = 400
    export = _export(collector)
    export.put(map(_span, range(1_200)))
    await export.close(30.0)
    assert (export.exported, export.failed) == (0, 1_200)
    (line,) = [record.getMessage() for record in caplog.records if "takes no spans" in record.getMessage()]
    assert "tracing_endpoint" in line
    assert collector.url in line
    assert "400" in line


async def test_a_collector_that_comes_back_is_told_of(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """What it refused is counted, what it takes then too, and a line says so."""
    caplog.set_level(logging.INFO, "riverlens.trace_export")
    collector.status = 400
    export = _export(collector)
    export.put([_span(0)])

    async def refused() -> bool:
        return export.failed == 1

    await wait_for(refused, what="the refusal", timeout_s=30.0)
    collector.status = 200
    export.put([_span(1)])
    await export.close(30.0)
    assert (export.exported, export.failed) == (1, 1)
    assert "takes spans again (1 were left out)" in caplog.text


class Sink:
    """Takes frames of less than 10 bytes."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    async def send(
        self,
        frame: Frame,
        *,
        when_full: WhenFull | None = None,  # noqa: ARG002  # named by Sink
        partition: int | None = None,  # noqa: ARG002  # as above
    ) -> bool:
        """Keep it, or refuse it."""
        if len(frame.image) > 9:
            raise FrameTooLargeError("too large")
        self.frames.append(frame)
        return True


def _frame(image: bytes = b"image", traceparent: str | None = None) -> Frame:
    return Frame("lobby", image, 1_790_000_000_000, frame_id="f1", traceparent=traceparent)


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [(Outcome.ACKNOWLEDGED, False), (Outcome.DROPPED, False), (Outcome.FAILED, True)],
)
async def test_a_sampled_frame_begins_a_trace(outcome: Outcome, failed: bool) -> None:  # noqa: FBT001  # a table's column
    """Its header names the span that is told when its journey has ended."""
    inner, kept = Sink(), Kept()
    sink = TracedSink(inner, kept, topic="frames", ratio=1.0)
    assert await sink.send(_frame())
    assert not kept.spans
    sink.settled(inner.frames[0], outcome)
    sink.settled(inner.frames[0], outcome)
    (span,) = kept.spans
    assert span.context == read_traceparent(inner.frames[0].traceparent or "")
    assert (span.name, span.kind, span.parent) == ("send frames", SpanKind.PRODUCER, None)
    assert span.start_ns <= span.end_ns
    assert span.attributes["riverlens.camera"] == "lobby"
    assert span.attributes["riverlens.outcome"] == outcome.value
    assert (span.error is not None) == failed


async def test_frames_that_are_not_sampled_say_so() -> None:
    """They carry a context with the flag off, so that nobody samples them again, and have no span."""
    inner, kept = Sink(), Kept()
    sink = TracedSink(inner, kept, topic="frames", ratio=0.0)
    await sink.send(_frame())
    context = read_traceparent(inner.frames[0].traceparent or "")
    assert context is not None
    assert not context.sampled
    sink.settled(inner.frames[0], Outcome.ACKNOWLEDGED)
    assert not kept.spans


async def test_frames_keep_the_context_they_bring_and_refused_ones_leave_nothing() -> None:
    """Who made the frame may have begun its trace; a frame that was never sent has no span."""
    inner, kept = Sink(), Kept()
    sink = TracedSink(inner, kept, topic="frames", ratio=1.0)
    await sink.send(_frame(traceparent=PARENT.traceparent()))
    assert inner.frames[0].traceparent == PARENT.traceparent()
    with pytest.raises(FrameTooLargeError):
        await sink.send(_frame(b"x" * 10))
    # White box: what waits for its end is all that it keeps.
    assert not sink._started


async def _ask(behave: Behave | None, *headers: str) -> tuple[ScriptedServer, Sequence[object], Kept]:
    """One Predict call of frames with these headers; server, answers and spans."""
    server, kept = ScriptedServer(*([] if behave is None else [behave])), Kept()
    await server.start()
    settings = WorkerSettings(server=server.address, tracing="otlp", tracing_ratio=0.0)
    endpoint = Endpoint(server.address, "street")
    try:
        frames = []
        for number, header in enumerate(headers):
            source = leased(PartitionLease("frames", 0), number)
            object.__setattr__(source, "frame", _frame(traceparent=header))
            frames.append(DecodedFrame(source, b"row", (), 3, (4, 4), decode_ms=0.1, ready_s=0.0))
        call = endpoint.load.start(len(frames), time.monotonic(), full=False)
        caller = Caller(model_of(settings, endpoint), Metrics(CollectorRegistry()), Tracer(settings, kept))
        said = await caller.ask(Piece(frames, BatchReason.FULL), endpoint, call)
    finally:
        await endpoint.close()
        await server.stop()
    return server, said if isinstance(said, list) else [said], kept


async def test_a_call_carries_its_span_to_the_model_server() -> None:
    """Its gRPC metadata names the span that links to the frames, and each answer knows it."""
    server, answers, kept = await _ask(None, PARENT.traceparent(), PARENT.traceparent())
    (span,) = kept.spans
    assert server.metadata[0]["traceparent"] == span.context.traceparent()
    assert len(span.links) == 2
    assert span.attributes["riverlens.rows"] == 2
    assert span.attributes["rpc.response.status_code"] == "OK"
    assert [answer.call for answer in answers if isinstance(answer, Prediction)] == [span.context] * 2


async def test_a_call_without_sampled_frames_has_no_span() -> None:
    """It says nothing to the model server and nothing to the collector."""
    server, _, kept = await _ask(None, TraceContext(1, 2, sampled=False).traceparent())
    assert "traceparent" not in server.metadata[0]
    assert not kept.spans


async def test_a_failed_call_has_a_span_that_says_why() -> None:
    """The server's own words are its status."""
    behave = refuses(lambda _: True, "INVALID_ARGUMENT", "no such image")
    _, _, kept = await _ask(behave, PARENT.traceparent())
    (span,) = kept.spans
    assert span.error is not None
    assert "no such image" in span.error


async def test_a_dead_letters_log_line_names_camera_offset_and_trace(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As JSON fields, the worker's own span where there is one; the next line counts the rest."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    set_up_logs("info", "json")
    try:
        notices = LetterNotices()
        for offset, now_s in enumerate((0.0, 1.0, 2.0, EVERY_S + 1.0)):
            source = leased(PartitionLease("frames", 3), offset)
            object.__setattr__(source, "frame", _frame(traceparent=PARENT.traceparent()))
            letter = dead_letter(source, Reason.UNDECODABLE, "broken")
            record = dead_letter_record(letter, Topics("detections", "frames.dlq", "street", ""), 0)
            if offset:
                process = TraceContext(0xABCD, 0x77, sampled=True)
                record = with_trace(record, Traced(FrameTrace(PARENT, process, process), letter, 0.0))
            notices.tell(record, now_s)
    finally:
        root.handlers[:], root.level = before
    first, second = map(orjson.loads, capfd.readouterr().err.splitlines())
    assert first["message"].startswith("dead letter: frame frames/3/0 of camera 'lobby': undecodable: broken")
    assert (first["camera"], first["partition"], first["offset"]) == ("lobby", 3, 0)
    assert (first["reason"], first["trace_id"]) == ("undecodable", f"{0xABCD:032x}")
    assert first["span_id"] == f"{0x1234:016x}"
    assert "2 more of this reason" in second["message"]
    assert second["span_id"] == f"{0x77:016x}"


async def test_spans_leave_without_being_asked_for(collector: Collector) -> None:
    """A few of them go out within seconds, while the role runs on."""
    export = _export(collector)
    export.put([_span(0)])

    async def arrived() -> bool:
        return bool(collector.spans)

    await wait_for(arrived, what="the span", timeout_s=30.0)
    await export.close(30.0)
