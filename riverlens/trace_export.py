"""Hands finished spans to an OTLP/HTTP collector. Shell; needs the extra `tracing`.

OpenTelemetry's own batch processor and exporter do it, in a thread of theirs: nothing here waits for the
collector. What it cannot take is counted and left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanKind as OtelKind

from riverlens._version import __version__
from riverlens.trace_context import TraceContext
from riverlens.trace_span import Span, SpanKind

logger = logging.getLogger(__name__)

MAX_WAITING = 4096
"""Spans that wait for the collector, at most."""
_BATCH = 512
_EVERY_MS = 1_000
TRY_FOR_S = 10.0
"""The collector gets so long to take a batch."""
_COMPLAIN_EVERY_S = 60.0

_KINDS = {
    SpanKind.INTERNAL: OtelKind.INTERNAL,
    SpanKind.CLIENT: OtelKind.CLIENT,
    SpanKind.PRODUCER: OtelKind.PRODUCER,
    SpanKind.CONSUMER: OtelKind.CONSUMER,
}
_SCOPE = InstrumentationScope("riverlens", __version__)


class _LastWords(logging.Handler):
    """Keeps what OpenTelemetry says of a failure for our own line: it would say it every few seconds."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: deque[str] = deque(maxlen=2)
        # Never taken away again: without a handler Python prints warnings itself.
        theirs = logging.getLogger("opentelemetry")
        theirs.setLevel(logging.WARNING)
        theirs.propagate = logger.isEnabledFor(logging.DEBUG)
        theirs.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def take(self) -> str:
        """What was said since the last time."""
        text = " ".join(self._said) or "it does not say why."
        self._said.clear()
        return text


class _Counted(SpanExporter):
    """Counts what another exporter takes. Writer of the counts: the processor's thread alone.

    Attributes:
        told: called, in that thread, whenever some have settled.
    """

    def __init__(self, inner: SpanExporter, url: str) -> None:
        self.exported = 0
        self.failed = 0
        self.told: Callable[[], None] = lambda: None
        self._inner = inner
        self._url = url
        self._words = _LastWords()
        self._refused = False
        self._ended = False
        self._complained_s = float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._ended:
            return SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        except Exception:
            logger.debug("exporting spans raised", exc_info=True)
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
            if self._refused:
                logger.info("%s takes spans again (%d were left out)", self._url, self.failed)
            self._refused = False
        else:
            self.failed += len(spans)
            self._refused = True
            if not self._ended:  # else the end itself is what it failed of
                self._complain(self._words.take())
        self.told()
        return result

    def shutdown(self) -> None:
        if not self._ended:
            self._ended = True
            self._inner.shutdown()

    def _complain(self, why: str) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            logger.warning(
                "%s takes no spans (%d left out so far): %s Frames go on; see tracing_endpoint",
                self._url,
                self.failed,
                why,
            )


class TraceExport:
    """Sends spans in the background; see `riverlens.tracing.SpanExport`.

    Headers (a token, say), certificates, compression and further resource attributes come from
    OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE,
    OTEL_EXPORTER_OTLP_COMPRESSION, OTEL_RESOURCE_ATTRIBUTES.
    """

    def __init__(self, url: str, service: str) -> None:
        self.dropped = 0
        self._handed = 0
        self._counted = _Counted(OTLPSpanExporter(endpoint=url, timeout=TRY_FOR_S), url)
        self._processor = BatchSpanProcessor(
            self._counted,
            max_queue_size=2 * MAX_WAITING,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_BATCH,
        )
        self._resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME") or service,
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        )

    @property
    def exported(self) -> int:
        """Spans that the collector took."""
        return self._counted.exported

    @property
    def failed(self) -> int:
        """Spans that it did not take."""
        return self._counted.failed

    @property
    def waiting(self) -> int:
        """Spans that have not settled yet."""
        return self._handed - self._counted.exported - self._counted.failed

    def put(self, spans: Iterable[Span]) -> None:
        """Hand finished spans over; those that find too many waiting are dropped and counted."""
        for span in spans:
            # The processor's queue is larger: it would drop without a count.
            if self.waiting >= MAX_WAITING:
                self.dropped += 1
            else:
                self._handed += 1
                self._processor.on_end(_readable(span, self._resource))

    async def close(self, timeout_s: float) -> None:
        """Hand over what waits, within the time; what is left then is given up."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def look() -> None:
            if self.waiting <= 0:
                ended.set()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended without waiting for it
                loop.call_soon_threadsafe(look)

        self._counted.told = tell
        # A daemon: the processor's own shutdown may sleep for half a minute, a process that ends must not.
        threading.Thread(target=self._processor.shutdown, name="trace-export-end", daemon=True).start()
        look()
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            self._counted.shutdown()
            logger.warning("%d spans are given up: the collector does not take them", self.waiting)


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=_context(span.context),
        parent=None if span.parent is None else _context(span.parent, remote=True),
        resource=resource,
        attributes=span.attributes,
        links=[Link(_context(link)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status() if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(context: TraceContext, *, remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, remote, flags)
