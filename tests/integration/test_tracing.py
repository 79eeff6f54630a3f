"""One trace from a camera's frame to its event, through a real Kafka, worker and model server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from riverlens.kafka import KafkaSettings
from riverlens.trace_context import TraceContext, read_traceparent
from tests.conftest import TopicSet
from tests.harness.account import headers_of, settled
from tests.harness.collector import Collector, Seen, collecting
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put, read_all
from tests.harness.waiting import wait_for
from tests.integration.producer_help import produce

FRAMES = 12
PREDICT = "tensorflow.serving.PredictionService/Predict"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector for one test."""
    async with collecting() as running:
        yield running


def _context(record: Any) -> TraceContext:
    context = read_traceparent(headers_of(record)["traceparent"])
    assert context is not None
    return context


def _span_of(collector: Collector, context: TraceContext) -> Seen:
    (span,) = [span for span in collector.spans if span.span_id == f"{context.span_id:016x}"]
    assert span.trace_id == f"{context.trace_id:032x}"
    return span


@pytest.fixture(autouse=True)
def patient_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine may need longer for the last spans than a role that ends waits for them."""
    monkeypatch.setattr("riverlens_producer.run.CLOSE_S", 60.0)


async def _arrived(collector: Collector, frames: int) -> None:
    """Wait for the last span of so many frames in a worker."""

    async def enough() -> bool:
        last = [s for s in collector.spans if s.service == "riverlens-worker" and s.name.startswith("send ")]
        return len(last) >= frames

    await wait_for(enough, what=f"the spans of {frames} frames")


async def test_one_trace_leads_from_the_frame_to_its_event(
    kafka: KafkaSettings,
    topic_set: TopicSet,
    workers: StartWorker,
    collector: Collector,
    tmp_path: Path,
) -> None:
    """Frame, spans and event share a trace id; the call has a trace of its own with a link to every frame."""
    picture = tmp_path / "lobby.jpg"
    picture.write_bytes(jpeg())
    tracing: dict[str, Any] = {"tracing": "otlp", "tracing_endpoint": collector.url}
    source = {"source": (str(picture),), "loop": True, "frames": FRAMES}
    await produce(kafka, topic_set.frames, **source, **tracing, tracing_ratio=1.0)
    # The frames wait on Kafka already: so calls hold several. A worker's own ratio is not asked for them.
    worker = await workers(topic_set, **tracing, tracing_ratio=0.0)
    account = await settled(kafka, topic_set, FRAMES)
    account.check()
    await _arrived(collector, FRAMES)
    assert await worker.stop() == 0
    events = await read_all(kafka, topic_set.events)
    frames = {place: _context(record) for place, record in account.frames.items()}
    for (place, frame), event in zip(sorted(frames.items()), events, strict=True):
        _check_trace(collector, topic_set, frame, _context(event), place)
    calls = [span for span in collector.spans if span.name == PREDICT]
    linked = [link for call in calls for link in call.links]
    processes = {(s.trace_id, s.span_id) for s in collector.spans if s.name == f"process {topic_set.frames}"}
    assert set(linked) == processes
    assert len(processes) == FRAMES
    assert {call.parent_id for call in calls} == {""}
    assert max(len(call.links) for call in calls) > 1
    print()  # noqa: T201  # what the test is there to show
    print(collector.tree(f"{_context(events[0]).trace_id:032x}"))  # noqa: T201  # as above
    print(collector.tree(calls[0].trace_id))  # noqa: T201  # as above


def _check_trace(
    collector: Collector, topics: TopicSet, frame: TraceContext, event: TraceContext, place: tuple[int, int]
) -> None:
    assert event.trace_id == frame.trace_id
    root, send = _span_of(collector, frame), _span_of(collector, event)
    (process,) = [s for s in collector.trace(root.trace_id) if s.name == f"process {topics.frames}"]
    assert (root.parent_id, process.parent_id, send.parent_id) == ("", root.span_id, process.span_id)
    assert (root.service, root.kind, process.kind) == ("riverlens-producer", "PRODUCER", "CONSUMER")
    assert (send.service, send.name) == ("riverlens-worker", f"send {topics.events}")
    assert (process.attributes["messaging.destination.partition.id"], place[1]) == (
        str(place[0]),
        process.attributes["messaging.kafka.offset"],
    )
    assert process.attributes["riverlens.outcome"] == "published"
    names = {s.name for s in collector.trace(root.trace_id) if s.parent_id == process.span_id}
    assert names == {"queue decode", "decode", "queue predict", "predict", "queue order", send.name}
    for span in collector.trace(root.trace_id):
        assert span.start_ns <= span.end_ns
    (predict,) = [s for s in collector.trace(root.trace_id) if s.name == "predict"]
    (link,) = predict.links
    (call,) = [s for s in collector.spans if (s.trace_id, s.span_id) == link]
    assert call.name == PREDICT
    assert (process.trace_id, process.span_id) in call.links


async def test_exactly_once_and_failures_are_traced_alike(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, collector: Collector
) -> None:
    """A frame without a context begins its trace here; a dead letter is an error, its log line names it."""
    tracing: dict[str, Any] = {"tracing": "otlp", "tracing_endpoint": collector.url, "tracing_ratio": 1.0}
    worker = await workers(topic_set, **tracing, delivery="exactly-once", log_format="json")
    await put(kafka, topic_set.frames, [Put(jpeg()), Put(b"no image")])
    account = await settled(kafka, topic_set, 2)
    account.check()
    (event,) = await read_all(kafka, topic_set.events, committed=True)
    await _arrived(collector, 2)
    assert await worker.stop() == 0
    process = {s.attributes["riverlens.outcome"]: s for s in collector.spans if s.name.startswith("process")}
    assert _span_of(collector, _context(event)).parent_id == process["published"].span_id
    assert process["published"].parent_id == ""
    assert process["dead_lettered"].error
    assert process["dead_lettered"].attributes["error.type"] == "unsupported"
    (line,) = [line for line in map(orjson.loads, worker.log().splitlines()) if "reason" in line]
    assert line["trace_id"] == process["dead_lettered"].trace_id
    assert line["span_id"] == process["dead_lettered"].span_id
    assert line["offset"] == process["dead_lettered"].attributes["messaging.kafka.offset"]


@pytest.mark.parametrize("away", [True, False], ids=["away", "hangs"])
async def test_a_collector_that_takes_nothing_costs_no_frame(
    kafka: KafkaSettings,
    topic_set: TopicSet,
    workers: StartWorker,
    collector: Collector,
    away: bool,  # noqa: FBT001  # a table's column
) -> None:
    """Every frame has its event, and the worker ends by itself, with 0, saying what became of its spans."""
    collector.release.clear()
    url = "http://127.0.0.1:9" if away else collector.url
    worker = await workers(topic_set, tracing="otlp", tracing_endpoint=url, tracing_ratio=1.0)
    await put(kafka, topic_set.frames, [Put(jpeg())] * 50)
    account = await settled(kafka, topic_set, 50)
    account.check()
    assert len(account.events) == 50
    assert (await worker.metrics())["riverlens_trace_spans_total{outcome=exported}"] == 0
    # The collector is still silent: an end that waited for it would not come.
    assert await worker.stop() == 0
    assert "takes no spans" in worker.log() or "spans are given up" in worker.log()


async def test_without_tracing_a_context_passes_through(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """The event has its frame's header as it came, and there is no metric of spans."""
    worker = await workers(topic_set)
    header = TraceContext(7, 8, sampled=True).traceparent()
    await put(kafka, topic_set.frames, [Put(jpeg(), headers=[("traceparent", header.encode())])])
    await settled(kafka, topic_set, 1)
    (event,) = await read_all(kafka, topic_set.events)
    assert headers_of(event)["traceparent"] == header
    assert not [name for name in await worker.metrics() if "trace_spans" in name]
