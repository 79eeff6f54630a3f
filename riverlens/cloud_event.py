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
        ("ce_specversion", b"1.0"),
        ("ce_id", ce_id.encode("utf-8", "replace")),
        ("ce_type", ce_type.encode()),
        ("ce_source", _uri_of(camera_id)),
        ("ce_time", to_rfc3339(captured_at_ms).encode()),
        ("content-type", b"application/json"),
    ]
    if frame_id is not None:
        pairs.append(("ce_subject", frame_id.encode("utf-8", "replace")))
    if traceparent is not None:
        pairs.append(("traceparent", traceparent.encode("utf-8", "replace")))
    return pairs


@lru_cache(maxsize=1024)
def _uri_of(camera_id: str) -> bytes:
    return b"/cameras/" + quote(camera_id, safe=_PATH_CHARS, errors="replace").encode()
