"""What a frame's value is, as far as a browser is concerned: only first bytes are read. Pure.

Sources: ITU-T T.81 annex B (JPEG), the PNG specification, RFC 9649 (WebP), GIF89a, BITMAPINFOHEADER.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

MAX_PIXELS = 50_000_000
"""Larger pictures are neither scaled here nor given to a browser."""
_MAX_SCANS = 64
"""Of a JPEG: a camera's progressive one has ten, a hostile one thousands, each a pass over all pixels."""
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_SEGMENTS = 1_000

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """What the wall can do with a frame.

    Attributes:
        mime: MIME type that a browser shows; "" where it can show nothing.
        size: (width, height) in pixels as stored, or None where unknown.
        note: why it cannot be shown, in words; "" where it can.
    """

    mime: str
    size: Size | None
    note: str = ""


def look_at(value: bytes, content_type: str | None) -> Look:
    """What the bytes are; magic bytes win over `content_type`. Never raises."""
    for magic, mime, sizer in _KINDS:
        if value.startswith(magic):
            return _shown(value, mime, sizer)
    return Look("", None, _why_not(value, content_type))


def _shown(value: bytes, mime: str, sizer: Callable[[bytes], Size | None]) -> Look:
    try:
        size = sizer(value)
    except (struct.error, IndexError):
        size = None
    if size is None or 0 in size:
        return Look("", None, "a broken image: its header does not tell its size")
    if size[0] * size[1] > MAX_PIXELS:
        return Look("", size, f"{size[0]} x {size[1]} pixels: too large to show here")
    return Look(mime, size)


def _why_not(value: bytes, content_type: str | None) -> str:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not value:
        return "an empty frame: no bytes at all"
    if kind == "text/uri-list":
        return "a reference: the image lies elsewhere and does not travel with the frame"
    if kind == "application/x-raw-rgb":
        return "raw pixels: no browser shows them as they are"
    if value.startswith((b"II*\x00", b"MM\x00*")):
        return "a TIFF image: no browser shows it"
    return "not an image that the wall knows" + (f" ({kind[:60]})" if kind else "")


def _jpeg(value: bytes) -> Size | None:
    position, end, size = 2, len(value), None
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > end or value[position] != 0xFF:  # noqa: PLR2004  # every marker begins so
            return size
        marker = value[position + 1]
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004  # fill bytes and markers without length
            position += 1 if marker == 0xFF else 2  # noqa: PLR2004  # the marker itself
            continue
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", value, position + 5)
            progressive = marker == 0xC2  # noqa: PLR2004  # SOF2
            # Counted only where they can be many: a pass over the bytes.
            return None if progressive and value.count(b"\xff\xda") > _MAX_SCANS else (width, height)
        position += 2 + int.from_bytes(value[position + 2 : position + 4])
    return None


def _png(value: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", value, 16)
    return (width, height) if value[12:16] == b"IHDR" else None


def _gif(value: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", value, 6)
    return width, height


def _bmp(value: bytes) -> Size | None:
    header, width, height = struct.unpack_from("<Iii", value, 14)
    return (abs(width), abs(height)) if header >= 40 else None  # noqa: PLR2004  # BITMAPINFOHEADER


def _webp(value: bytes) -> Size | None:
    kind = value[12:16]
    if value[8:12] != b"WEBP":
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(value[24:27], "little"), 1 + int.from_bytes(value[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(value[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", value, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


_KINDS: tuple[tuple[bytes, str, Callable[[bytes], Size | None]], ...] = (
    (b"\xff\xd8\xff", "image/jpeg", _jpeg),
    (b"\x89PNG\r\n\x1a\n", "image/png", _png),
    (b"RIFF", "image/webp", _webp),
    (b"GIF8", "image/gif", _gif),
    (b"BM", "image/bmp", _bmp),
)
