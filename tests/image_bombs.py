"""Small image files that claim, or unpack to, far more than they hold; made by hand after the formats."""

from __future__ import annotations

import struct
import zlib

from tests.worker_parts import encode, scene

_HUGE = 65_500
_ZEROS = 60_000_000


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *middle: bytes, idat: bytes = b"") -> bytes:
    """An 8 bit RGB PNG of any claimed size; `middle` stands before the pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(middle)
        + _chunk(b"IDAT", zlib.compress(idat))
        + _chunk(b"IEND", b"")
    )


def tiff(width: int, height: int, *more: tuple[int, int], compression: int = 1) -> bytes:
    """A little-endian gray TIFF of one strip or, by `more` tags, of tiles."""
    data = bytes(64)
    tags = [(256, width), (257, height), (258, 8), (259, compression), (262, 1), (277, 1), *more]
    if not any(tag == 322 for tag, _ in tags):
        tags += [(273, 8), (278, height), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def big_tiff(width: int, height: int, directory: int = 16) -> bytes:
    """A big-endian BigTIFF that holds nothing but its sizes."""
    entries = b"".join(
        struct.pack(">HHQQ", tag, 16, 1, value) for tag, value in ((256, width), (257, height))
    )
    return b"MM\0+\0\x08\0\0" + struct.pack(">QQ", directory, 2) + entries


def _gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _canvas(side: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (side - 1).to_bytes(3, "little") * 2


def _lossy(side: int) -> tuple[bytes, bytes]:
    return b"VP8 ", b"\x30\x01\0\x9d\x01\x2a" + struct.pack("<HH", side, side) + bytes(64)


def _lossless(side: int) -> tuple[bytes, bytes]:
    return b"VP8L", b"\x2f" + struct.pack("<I", (side - 1) | ((side - 1) << 14)) + bytes(65)


def _jpeg(width: int, height: int) -> bytes:
    plain = encode(scene(16, 16), "JPEG")
    at = plain.find(b"\xff\xc0") + 5
    return plain[:at] + struct.pack(">HH", height, width) + plain[at + 4 :]


def _bmp(width: int, height: int) -> bytes:
    sizes = struct.pack("<IHHIIiiHHIIiiII", 118, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + sizes + bytes(64)


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG of nothing, over and over: each scan passes over all pixels."""
    plain = encode(scene(16, 16)[:, :, 0] // 255, "JPEG", progressive=True)
    at = plain.find(b"\xff\xc2") + 5
    huge = plain[:at] + struct.pack(">HH", side, side) + plain[at + 4 : -2]
    return huge + huge[huge.rfind(b"\xff\xda") :] * count + b"\xff\xd9"


def _run_lengths(count: int) -> bytes:
    body = b"\x01\0" * count + b"\0\x01"
    head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + head + bytes(1024) + body


def _strips(count: int) -> bytes:
    """A TIFF of one row a strip, all of them the same 8 bytes."""
    at = 16 + 8 * count
    arrays = struct.pack("<I", 8) * 2 * count
    tags = [(256, 4, 1, 8), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 16), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 16 + 4 * count)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", at) + bytes(8) + arrays + struct.pack("<H", 9) + entries + bytes(4)


def too_large() -> dict[str, bytes]:
    """Files whose header tells that they pass the pixel limit."""
    return {
        "png": png(65_536, 65_536),
        "jpeg": _jpeg(_HUGE, _HUGE),
        "jpeg of scans": scans(4_000, 2_000),
        "jpeg of scans, junk between": scans(4_000, 2_000)[:20] + b"\0" + scans(4_000, 2_000)[20:],
        "truncated jpeg": _jpeg(_HUGE, _HUGE)[:-2],
        "bmp": _bmp(60_000, 60_000),
        "gif screen": _gif((65_535, 65_535), (1, 1)),
        "gif frame beyond its screen": _gif((10, 10), (65_535, 65_535)),
        "webp canvas": _riff(_canvas(16_384), _lossy(16_383)),
        "webp lossy": _riff(_lossy(16_383)),
        "webp lossless": _riff(_lossless(16_383)),
        "tiff": tiff(100_000, 100_000),
        "tiff, a size twice": tiff(100_000, 100_000, (256, 16), (257, 16)),
        "bigtiff": big_tiff(100_000, 100_000),
        **{
            f"tiff tile, compression {number}": tiff(
                16, 16, (322, 65_520), (323, 32_000), (324, 8), (325, 64), compression=number
            )
            for number in (1, 5, 7, 8)
        },
    }


def undecodable() -> dict[str, bytes]:
    """Files that look small, and fail or cost seconds only when somebody reads on."""
    zeros = zlib.compress(bytes(_ZEROS))
    lie = b"\0\0\0" * 2 + (16_382).to_bytes(3, "little") * 2 + b"\x01\0\0\0"
    return {
        "png text": png(8, 8, _chunk(b"zTXt", b"a\0\0" + zeros)),
        "png profile": png(8, 8, _chunk(b"iCCP", b"a\0\0" + zeros)),
        "png of chunks": png(8, 8, *[_chunk(b"juNk", b"")] * 300_000),
        "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * 4_000_000,
        "jpeg of restarts": b"\xff\xd8" + b"\xff\xd0" * 2_000_000,
        "bmp of run lengths": _run_lengths(3_900_000),
        "tiff of strips": _strips(900_000),
        "webp canvas lies": _riff(_canvas(10), _lossy(16_383)),
        "webp frame lies": _riff(
            _canvas(10, flags=2), (b"ANIM", bytes(6)), (b"ANMF", lie + b"VP8 J\0\0\0" + _lossy(16_383)[1])
        ),
        "webp of another chunk": _riff((b"JUNK", bytes(18)), _lossless(16_383)),
        "bigtiff beyond the file": big_tiff(8, 8, directory=2**64 - 1),
        "tiff of one byte": b"II*\0\x08",
    }


def small_after_all() -> dict[str, bytes]:
    """Pixels that unpack to far more than the image has: the rest is never unpacked."""
    return {"png pixels": png(8, 8, idat=bytes(_ZEROS))}
