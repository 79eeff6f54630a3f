"""Small images, good and bad, made on the spot."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import simplejpeg

RED, GREEN, BLUE = (230, 20, 20), (20, 230, 20), (20, 20, 230)


def jpeg(colour: tuple[int, int, int] = RED, size: tuple[int, int] = (32, 24), quality: int = 90) -> bytes:
    """A plain JPEG of one colour, `size` is (width, height)."""
    pixels = np.full((size[1], size[0], 3), colour, np.uint8)
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality, "RGB")
    return encoded


def noise_jpeg(seed: int, size: tuple[int, int] = (640, 480), quality: int = 80) -> bytes:
    """A JPEG that compresses as badly as a camera's: coarse noise."""
    width, height = size
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB")
    return encoded


def png(width: int, height: int, data: bytes | None = None) -> bytes:
    """A PNG of one gray level; `data` in place of its compressed pixels makes it corrupt or a bomb."""
    rows = zlib.compress((b"\0" + b"\x80" * width) * height) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def poison_png() -> bytes:
    """A PNG whose header, end and checksums are well formed and whose pixels nobody can inflate."""
    return png(32, 24, b"\xff" * 40)


def twelve_bit_jpeg() -> bytes:
    """An 8-bit JPEG whose frame header claims 12 bits a sample (extended sequential)."""
    image = bytearray(jpeg())
    place = image.index(b"\xff\xc0")
    image[place + 1] = 0xC1
    image[place + 4] = 12
    return bytes(image)
