"""An OTLP/HTTP collector as small as can be: it keeps the spans and shows a trace as a tree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as it came. Ids are hexadecimal; `links` are (trace id, span id)."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    error: bool


class Collector:
    """Takes spans on /v1/traces.

    Attributes:
        spans: all that came, in the order they came.
        status: what it answers with; `release` unset: it does not answer at all.
    """

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.status = 200
        self.release = asyncio.Event()
        self.release.set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what a request brings, or refuse it."""
        body = await request.read()
        await self.release.wait()
        if self.status == 200:
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        reply = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=reply, content_type="application/x-protobuf")

    def trace(self, trace_id: str) -> list[Seen]:
        """The spans of one trace, by their start."""
        found = [span for span in self.spans if span.trace_id == trace_id]
        return sorted(found, key=lambda span: (span.start_ns, -span.end_ns))

    def tree(self, trace_id: str) -> str:
        """One trace as text: who began what, when since the root's start, for how long, linked to what."""
        spans = self.trace(trace_id)
        known = {span.span_id for span in spans}
        lines = [f"trace {trace_id}"]

        def add(span: Seen, depth: int) -> None:
            start_ms, took_ms = (span.start_ns - spans[0].start_ns) / 1e6, (span.end_ns - span.start_ns) / 1e6
            links = f"  -> {len(span.links)} link(s) to {span.links[0][0][:8]}..." if span.links else ""
            name = f"{'   ' * depth}{span.name}"
            lines.append(f"  {name:44} {span.service:18} {start_ms:8.1f} ms +{took_ms:8.1f} ms{links}")
            for child in spans:
                if child.parent_id == span.span_id:
                    add(child, depth + 1)

        for span in spans:
            if span.parent_id not in known:
                add(span, 0)
        return "\n".join(lines)


def _spans(request: Any) -> list[Seen]:
    return [
        Seen(
            service=_attributes(group.resource.attributes)["service.name"],
            name=span.name,
            kind=type(span).SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            error=span.status.code == 2,
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A running collector on loopback."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        collector.release.set()
        await runner.cleanup()
