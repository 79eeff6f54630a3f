"""What the first bytes say: sizes, rotation, and whether the model server may have the bytes as they are."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from riverlens_worker.image_header import ImageHeader, read_header
from tests.image_bombs import png
from tests.worker_parts import encode, examples, scene

PIXELS = scene(40, 24)
MAGICS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0+",
)


def _exif(orientation: int, **tags: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for tag, value in tags.items():
        exif[int(tag[1:])] = value
    return exif


def _header(image: bytes) -> ImageHeader:
    header = read_header(image)
    assert header is not None
    return header


@pytest.mark.parametrize(
    ("image_format", "options", "plain"),
    [
        ("JPEG", {}, True),
        ("JPEG", {"progressive": True}, True),
        ("JPEG", {"subsampling": 0, "optimize": True}, True),
        ("PNG", {}, True),
        ("PNG", {"compress_level": 0}, True),
        ("WEBP", {}, False),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"exif": _exif(1)}, False),
        ("GIF", {}, False),
        ("TIFF", {}, False),
        ("TIFF", {"big_tiff": True}, False),
    ],
)
def test_size_and_format_are_told_as_pillow_tells_them(
    *, image_format: str, options: dict[str, Any], plain: bool
) -> None:
    """Format, width and height agree with a full reader; only whole JPEGs and PNGs are plain."""
    header = _header(encode(PIXELS, image_format, **options))
    assert (header.format, header.width, header.height, header.plain) == (image_format, 40, 24, plain)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "tags", [{}, {"t270": "a text before", "t305": "x" * 100}], ids=["bare", "among others"]
)
def test_a_jpegs_orientation_is_found(orientation: int, tags: dict[str, Any]) -> None:
    """The Exif orientation is read without a decoder, wherever it stands in its block."""
    header = _header(encode(PIXELS, "JPEG", exif=_exif(orientation, **tags)))
    assert (header.orientation, header.plain) == (orientation, True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("value", "expected"), [(6, 6), (0, 1), (9, 1), (65535, 1)])
def test_orientation_is_read_in_both_byte_orders_and_nonsense_is_upright(
    order: str, value: int, expected: int
) -> None:
    """An orientation that does not exist means none."""
    block = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(
        f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0
    )
    assert _header(_with_block(block)).orientation == expected


def _with_block(tiff: bytes, jpeg: bytes | None = None) -> bytes:
    jpeg = jpeg or encode(PIXELS, "JPEG")
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("block", [b"", b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05\x01"])
def test_a_broken_exif_block_leaves_the_question_to_a_full_reader(block: bytes) -> None:
    """Not known is neither upright nor an error: the image behind it may be fine."""
    header = _header(_with_block(block))
    assert (header.orientation, header.plain) == (None, True)


def test_the_first_exif_block_counts() -> None:
    """Further blocks continue the first one, as Pillow and cameras have it."""
    blocks = [b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0) for value in (3, 6)]
    image = _with_block(blocks[1], _with_block(blocks[0]))
    assert _header(image).orientation == Image.open(BytesIO(image)).getexif()[0x0112] == 6


def _patched(kind: int, at: int, change: bytes) -> bytes:
    jpeg = encode(PIXELS, "JPEG")
    place = jpeg.find(bytes([0xFF, kind])) + at
    return jpeg[:place] + change + jpeg[place + len(change) :]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(encode(PIXELS, "JPEG")[:-2], id="no end"),
        pytest.param(encode(PIXELS, "JPEG")[:300], id="cut in its header"),
        pytest.param(encode(PIXELS, "JPEG") + bytes(100), id="a long trailer"),
        pytest.param(_patched(0xC0, 4, b"\x0c"), id="12 bits"),
        pytest.param(_patched(0xC0, 5, b"\0\0"), id="height 0"),
        pytest.param(_patched(0xC0, 7, b"\0\0"), id="width 0"),
        pytest.param(_patched(0xC0, 0, b"\xff\xc3"), id="lossless"),
        pytest.param(_patched(0xC0, 0, b"\xff\xc9"), id="arithmetic"),
        pytest.param(
            encode(PIXELS, "JPEG")[:2] + b"\xff\x00\x00\x04" + encode(PIXELS, "JPEG")[2:], id="no marker"
        ),
        pytest.param(png(0, 4), id="png of no width"),
        pytest.param(png(4, 0), id="png of no height"),
        pytest.param(encode(PIXELS, "PNG")[:-8], id="png without its end"),
        pytest.param(encode(PIXELS, "PNG") + bytes(100), id="png with a trailer"),
        pytest.param(encode(PIXELS, "PNG", exif=_exif(6)), id="rotated png"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), id="png without a header"),
    ],
)
def test_unusual_files_are_not_plain(image: bytes) -> None:
    """What a model server might refuse or see differently is not handed on as it is."""
    assert not _header(image).plain


def test_an_animated_png_is_not_plain() -> None:
    """TensorFlow would answer with every picture of it."""
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    assert not _header(file.getvalue()).plain


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"\xff\xd8", b"hello", b"RIFF\0\0\0\0WAVE", b"\0" * 100, b"II"]
)
def test_what_is_no_image_begins_like_none(value: bytes) -> None:
    """Text, sound and nothing at all have no image header."""
    assert read_header(value) is None


@examples(400)
@given(st.sampled_from(MAGICS), st.binary(max_size=120))
def test_no_bytes_make_the_reader_raise(magic: bytes, rest: bytes) -> None:
    """It runs on the event loop for every frame, so it must survive whatever stands behind the magic."""
    header = read_header(magic + rest)
    assert header is None or header.orientation in {None, *range(1, 9)}


@examples(150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.integers(0, 2000))
def test_no_cut_makes_the_reader_raise(image_format: str, length: int) -> None:
    """A file cut anywhere has a header or none, and is plain only where it is whole."""
    image = encode(PIXELS, image_format, **({"exif": _exif(6)} if image_format in {"JPEG", "WEBP"} else {}))
    header = read_header(image[:length])
    assert header is None or not header.plain or length >= len(image) - 12
