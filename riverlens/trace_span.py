"""A span as riverlens' pure modules decide it, made after the fact from known times. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from riverlens.trace_context import TraceContext

Value = str | int | float | bool


class SpanKind(StrEnum):
    """OpenTelemetry's kinds, those that occur here."""

    INTERNAL = "internal"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span.

    Attributes:
        context: its own place; `parent` that of the span it belongs to, or None for a root.
        start_ns, end_ns: nanoseconds since the epoch.
        attributes: by OpenTelemetry's semantic conventions where they name such a thing, else `riverlens.*`.
        links: spans of other traces that it has to do with.
        error: why it failed; None where it did not.
    """

    name: str
    kind: SpanKind
    context: TraceContext
    parent: TraceContext | None
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[TraceContext, ...] = ()
    error: str | None = None
