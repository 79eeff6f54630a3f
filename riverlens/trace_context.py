"""W3C trace context: the header `traceparent`, who is sampled, ids that are made of what is known. Pure.

https://www.w3.org/TR/trace-context/#traceparent-header. Sampling is OpenTelemetry's: what came with a context
is sampled as that says, else a share of trace ids is (TraceIdRatioBased, which all parts of a trace share).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED = 1
_LOW_BITS = 1 << 64


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span's place: `trace_id` of 128 bits, `span_id` of 64, neither 0; whether it is recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    def traceparent(self) -> str:
        """The header that names this span as the parent of what follows."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def read_traceparent(text: str) -> TraceContext | None:
    """What the header says; None where it is none, so that a trace begins anew, as W3C asks for."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    version, more = form[1], form[5]
    trace_id, span_id = int(form[2], 16), int(form[3], 16)
    # Later versions may append fields; ff is none, and 00 has just these four.
    if version == "ff" or (version == "00" and more) or not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(form[4], 16) & _SAMPLED))


def in_share(trace_id: int, ratio: float) -> bool:
    """Whether a trace is among the `ratio` (0 to 1) of all that are recorded: by its low 64 bits."""
    return trace_id % _LOW_BITS < round(ratio * _LOW_BITS)


def derived_id(size_bytes: int, *parts: object) -> int:
    """An id of `size_bytes` bytes, never 0, equal for equal parts: so nobody has to carry it along."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=size_bytes).digest(), "big") or 1


def log_fields(traced: TraceContext | str | None) -> dict[str, str]:
    """What a frame's log line says of its span or header, by the names that OpenTelemetry's logs have."""
    context = read_traceparent(traced) if isinstance(traced, str) else traced
    if context is None:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
