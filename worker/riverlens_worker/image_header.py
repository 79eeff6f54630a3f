"""What an image's first bytes say: format, size, rotation; nothing is decoded or allocated. Pure.

Sources: ITU-T T.81 annex B (JPEG markers), the PNG specification (chunks), RFC 9649 (WebP), TIFF 6.0
and Exif 2.3 (tag 0x0112).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_EXIF = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_SOF = frozenset({0xC0, 0xC1, 0xC2})
_PLAIN_SAMPLES = frozenset({(8, 1), (8, 3)})
"""Precision in bits, components."""
_SOS, _EOI, _APP1 = 0xDA, b"\xff\xd9", 0xE1
_SCAN = b"\xff\xda"
_SEQUENTIAL_SOF = frozenset({0xC0, 0xC1})
_SEGMENT = struct.Struct(">BBH")
"""0xFF, marker, length with its own two bytes."""
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE})
"""Markers of segments that say nothing asked for here: tables, application data but Exif, comments."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_ORIENTATION = 8
_TAIL_BYTES = 64
_MAX_STEPS = 2_000
"""Segments or chunks looked at; no camera writes more, and a file made of millions costs seconds."""
_ENDLESS = "its header does not end"
_MOST_STRIPS = 100_000
"""Strips or tiles of a TIFF: a loop in Python reads them, 7 us each."""
_MOST_RUN_LENGTH_BYTES = 1024 * 1024
"""Of a BMP in run lengths: a loop in Python reads them, 0.3 s a MiB, and no camera writes them."""
_TIFF_OFFSETS = frozenset({273, 324})
"""Tags of StripOffsets and TileOffsets."""
_TIFF_SIZES = {256: 0, 257: 1, 322: 0, 323: 1}
"""Tags of ImageWidth, ImageLength, TileWidth, TileLength: which of (width, height) each bounds."""
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 16: "Q", 17: "Q"}
"""Integer field types; a negative size reads as a huge one, which is refused as well."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Facts of one encoded image.

    Attributes:
        format: Pillow's name: JPEG, PNG, WEBP, BMP, GIF or TIFF.
        width, height: pixels as stored, or None where the header does not simply say. Of a TIFF: at
            least a tile's, because a decoder allocates whole tiles.
        orientation: Exif orientation 1 to 8 (1 is upright), or None where only a full reader can tell.
        plain: an ordinary JPEG (baseline, extended or progressive, 8 bit, 1 or 3 components, whole) or
            a whole PNG: TensorFlow and libjpeg-turbo read it as it is.
        costly: why to read on would cost seconds, as no camera's image does; "" where it would not.
        scans: at most so many passes over all pixels does a decoder make; 1 but for JPEGs.
    """

    format: str
    width: int | None
    height: int | None
    orientation: int | None
    plain: bool
    costly: str = ""
    scans: int = 1


def read_header(value: bytes) -> ImageHeader | None:
    """The header's facts, or None where the bytes begin like no image that riverlens reads."""
    for magics, reader in _READERS:
        if value.startswith(magics):
            return reader(value)
    return None


def _jpeg(value: bytes) -> ImageHeader:
    width = height = None
    ordinary = False
    in_one_scan = b""
    exif: bytes | None = None
    position, end = 2, len(value)
    for _ in range(_MAX_STEPS):
        if position + 4 > end:
            return ImageHeader("JPEG", width, height, None, plain=False, scans=value.count(_SCAN))
        first, marker, length = _SEGMENT.unpack_from(value, position)
        if first != 0xFF or marker == 0:  # noqa: PLR2004  # no marker
            return ImageHeader("JPEG", width, height, None, plain=False, scans=value.count(_SCAN))
        if marker in _TABLES:
            position += 2 + length
            continue
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004  # fill bytes and markers without length
            position += 1 if marker == 0xFF else 2  # noqa: PLR2004  # the marker itself
            continue
        if marker == _SOS:
            whole = value.rfind(_EOI, -_TAIL_BYTES) > 0
            # A first scan of all components is the only one that is read, unless the image is progressive.
            scans = 1 if value[position + 4 : position + 5] == in_one_scan else value.count(_SCAN)
            return _jpeg_header(width, height, _exif_orientation(exif), ordinary and whole, scans)
        body = value[position + 4 : position + 2 + length]
        if marker in _SOF and len(body) >= 6:  # noqa: PLR2004  # precision, height, width, components
            precision, height, width, components = struct.unpack_from(">BHHB", body)
            ordinary = marker in _PLAIN_SOF and (precision, components) in _PLAIN_SAMPLES
            ordinary &= 0 not in {width, height}
            in_one_scan = bytes([components]) if marker in _SEQUENTIAL_SOF else b""
        elif marker == _APP1 and body.startswith(_EXIF) and exif is None:
            exif = body[len(_EXIF) :]  # the first one counts; later ones continue it
        position += 2 + length
    return ImageHeader("JPEG", width, height, None, plain=False, costly=_ENDLESS)


@lru_cache(maxsize=256)
def _jpeg_header(
    width: int | None,
    height: int | None,
    orientation: int | None,
    plain: bool,  # noqa: FBT001  # keywords would slow the cache
    scans: int,
) -> ImageHeader:
    """A camera's images all have the same one."""
    return ImageHeader("JPEG", width, height, orientation, plain=plain, scans=scans)


def _exif_orientation(tiff: bytes | None) -> int | None:
    """Orientation of an Exif block; 1 where there is none or it names none, None where it is malformed."""
    if tiff is None:
        return 1
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(min(count, 200)):
            tag, _, _, orientation = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return orientation if 1 <= orientation <= _MAX_ORIENTATION else 1
    except struct.error:
        return None
    return 1


def _png(value: bytes) -> ImageHeader:
    if value[12:16] != b"IHDR" or len(value) < 33:  # noqa: PLR2004  # signature and IHDR
        return ImageHeader("PNG", None, None, None, plain=False)
    width, height = struct.unpack_from(">II", value, 16)
    whole = value.rfind(b"IEND", -_TAIL_BYTES) > 0
    rotated = animated = False
    position = 33
    for _ in range(_MAX_STEPS):
        if position + 8 > len(value):
            return ImageHeader("PNG", width, height, None, plain=False)
        (length,) = struct.unpack_from(">I", value, position)
        chunk = value[position + 4 : position + 8]
        if chunk == b"IDAT":
            plain = whole and not rotated and not animated and 0 not in {width, height}
            return ImageHeader("PNG", width, height, None if rotated else 1, plain=plain)
        rotated |= chunk == b"eXIf"
        animated |= chunk == b"acTL"
        position += 12 + length
    return ImageHeader("PNG", width, height, None, plain=False, costly=_ENDLESS)


def _gif(value: bytes) -> ImageHeader:
    width, height = struct.unpack_from("<HH", value, 6) if len(value) >= 10 else (None, None)  # noqa: PLR2004  # both sizes end at byte 10
    return ImageHeader("GIF", width, height, 1, plain=False)


def _webp(value: bytes) -> ImageHeader | None:
    if value[8:12] != b"WEBP":
        return None
    kind = value[12:16]
    width = height = None
    if kind == b"VP8X" and len(value) >= 30:  # noqa: PLR2004  # header and canvas size
        width = 1 + int.from_bytes(value[24:27], "little")
        height = 1 + int.from_bytes(value[27:30], "little")
    elif kind == b"VP8L" and len(value) >= 25:  # noqa: PLR2004  # header and size
        bits = int.from_bytes(value[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    elif kind == b"VP8 " and len(value) >= 30:  # noqa: PLR2004  # header, start code, size
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", value, 26))
    return ImageHeader("WEBP", width, height, None, plain=False)


def _bmp(value: bytes) -> ImageHeader:
    run_lengths = value[30:34] in {b"\1\0\0\0", b"\2\0\0\0"}
    costly = "run lengths beyond 1 MiB" if run_lengths and len(value) > _MOST_RUN_LENGTH_BYTES else ""
    return ImageHeader("BMP", None, None, 1, plain=False, costly=costly)


def _tiff(value: bytes) -> ImageHeader:
    order = "<" if value[:1] == b"I" else ">"
    big = b"+" in value[2:4]  # BigTIFF's version
    sizes, strips = [0, 0], 0
    try:
        (directory,) = struct.unpack_from(order + ("Q" if big else "I"), value, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), value, directory)
        first, entry_bytes, value_at = directory + (8 if big else 2), 20 if big else 12, 12 if big else 8
        for entry in range(first, first + entry_bytes * min(count, _MAX_STEPS), entry_bytes):
            tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), value, entry)
            if tag in _TIFF_OFFSETS:
                strips = max(strips, number)
            if tag in _TIFF_SIZES and kind in _TIFF_INTEGERS:
                # Libraries differ in which of two equal tags counts: take the larger.
                (size,) = struct.unpack_from(order + _TIFF_INTEGERS[kind], value, entry + value_at)
                sizes[_TIFF_SIZES[tag]] = max(sizes[_TIFF_SIZES[tag]], size)
    except (struct.error, OverflowError):
        pass  # cut off: whether the rest is an image is for a full reader to say
    costly = f"{strips} strips or tiles" if strips > _MOST_STRIPS else ""
    return ImageHeader("TIFF", sizes[0] or None, sizes[1] or None, None, plain=False, costly=costly)


_READERS: tuple[tuple[tuple[bytes, ...], Callable[[bytes], ImageHeader | None]], ...] = (
    ((b"\xff\xd8\xff",), _jpeg),
    ((b"\x89PNG\r\n\x1a\n",), _png),
    ((b"RIFF",), _webp),
    ((b"GIF87a", b"GIF89a"), _gif),
    ((b"BM",), _bmp),
    ((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), _tiff),
)
