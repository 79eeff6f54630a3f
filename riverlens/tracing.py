"""Switches tracing on: what its settings may be, and the export. OpenTelemetry is imported only then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator

from riverlens.errors import SetupError
from riverlens.trace_span import Span

Tracing = Literal["off", "otlp"]
TRACES_PATH = "/v1/traces"
CLOSE_S = 2.0
"""A role that ends waits no longer than this for its last spans to be taken."""


def _is_endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
        secret = "@" in parts.netloc
    except ValueError:
        wrong, secret = True, False
    if wrong:
        raise ValueError("not the address of an OTLP/HTTP collector, such as http://127.0.0.1:4318")
    if secret:
        raise ValueError("a login or token belongs into OTEL_EXPORTER_OTLP_HEADERS: addresses are logged")
    return text


TracingEndpoint = Annotated[str, AfterValidator(_is_endpoint)]
"""http://host:port of an OTLP/HTTP collector, or the whole address where its path is another."""


class SpanExport(Protocol):
    """Where finished spans go; `TraceExport` is the one there is."""

    @property
    def exported(self) -> int:
        """Spans that the collector took."""

    @property
    def dropped(self) -> int:
        """Spans left out because too many were waiting for it."""

    @property
    def failed(self) -> int:
        """Spans that it did not take."""

    def put(self, spans: Iterable[Span]) -> None:
        """Hand finished spans over; never waits, never raises for the collector's sake."""

    async def close(self, timeout_s: float) -> None:
        """Hand over what waits, within the time; what is left then is given up."""


def traces_url(endpoint: str) -> str:
    """Where spans are sent: the endpoint's own path, or OTLP's where it has none.

    https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
    """
    path = urlsplit(endpoint).path
    return endpoint if path.strip("/") else endpoint.rstrip("/") + TRACES_PATH


def open_export(tracing: Tracing, endpoint: str, service: str) -> SpanExport | None:
    """The export that the settings ask for; None with tracing=off.

    Raises:
        SetupError: OpenTelemetry is not installed.
    """
    if tracing == "off":
        return None
    try:
        from riverlens.trace_export import TraceExport  # noqa: PLC0415  # an extra, only where it is wanted
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SetupError(
            f"tracing={tracing} needs OpenTelemetry ({error.name} is not installed): "
            "pip install 'riverlens[tracing]', build the image with --build-arg EXTRAS=tracing, "
            "or set tracing=off"
        ) from None
    return TraceExport(traces_url(endpoint), service)
