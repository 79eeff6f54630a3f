"""RFC 3339 text to and from epoch milliseconds: the one clock format that travels."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_MAX_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can write


@lru_cache(maxsize=1024)
def to_rfc3339(epoch_ms: int) -> str:
    """`1790683200033` -> `2026-09-29T12:00:00.033Z`; clamped to the years 1970 to 9999."""
    whole_s, ms = divmod(min(max(epoch_ms, 0), _MAX_MS), 1000)
    return f"{_second(whole_s)}.{ms:03d}Z"


@lru_cache(maxsize=256)
def _second(epoch_s: int) -> str:
    # Cached, both: a frame's time is written several times, and thousands of frames share a second.
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M:%S}"


def from_rfc3339(text: str) -> int | None:
    """Epoch milliseconds of an RFC 3339 instant; None where the text is not one (no zone included)."""
    try:
        instant = datetime.fromisoformat(text.upper())  # RFC 3339 allows t and z as well
    except ValueError:
        return None
    if instant.tzinfo is None:
        return None
    try:
        return round(instant.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None
