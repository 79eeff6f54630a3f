"""CloudEvents 1.0, binary mode: the attributes of what is said of one frame, as Kafka headers."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from riverlens.dead_letter import Origin
from riverlens.times import to_rfc3339

_PATH_CHARS = "/:@!$&'()*+,;="
"""What a URI's path may hold unescaped besides letters, digits and -._~ (RFC 3986)."""


def id_of(origin: Origin) -> str:
    """`<topic>/<partition>/<offset>` of the frame: equal for repeats, so a consumer can discard them."""
    return f"{origin.topic}/{origin.partition}/{origin.offset}"


def envelope(
    ce_type: str,
    ce_id: str,
    camera_id: str,
    captured_at_ms: int,
    *,
    frame_id: str | None,
    traceparent: str | None,
) -> list[tuple[str, bytes]]:
    """The attributes, and the frame's trace context, only those that have a value."""
    pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", ce_id),
        ("ce_type", ce_type),
        ("ce_source", _uri_of(camera_id)),
        ("ce_time", to_rfc3339(captured_at_ms)),
        ("content-type", "application/json"),
    ]
    if frame_id is not None:
        pairs.append(("ce_subject", frame_id))
    if traceparent is not None:
        pairs.append(("traceparent", traceparent))
    return [(name, value.encode("utf-8", "replace")) for name, value in pairs]


@lru_cache(maxsize=1024)
def _uri_of(camera_id: str) -> str:
    return "/cameras/" + quote(camera_id, safe=_PATH_CHARS, errors="replace")
