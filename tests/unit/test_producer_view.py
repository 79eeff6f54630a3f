"""Regions and sizes: what part of a picture goes out, how large."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from riverlens_producer.pictures import Look, encode, re_encode, whole_jpeg
from riverlens_producer.view import Region, parse_region, view

_SIDES = st.integers(16, 5000)
_PARTS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("0.25,0,0.75,1", Region((0.25, 0, 0.75, 1))),
        ("640x480+100+50", Region((100, 50, 740, 530), pixels=True)),
    ],
)
def test_a_region_has_two_forms(text: str, region: Region) -> None:
    """Parts of the picture, or a place in pixels."""
    assert parse_region(text) == region


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "0.5,0,0.5,1", "0,0,2,1", "0x10+0+0", "640x480", "a,b,c,d", "nan,0,1,1"]
)
def test_a_wrong_region_shows_both_forms(text: str) -> None:
    """The message has an example of each."""
    with pytest.raises(ValueError, match=r"0\.25,0,0\.75,1.*640x480\+100\+0"):
        parse_region(text)


@given(
    width=_SIDES, height=_SIDES, xs=st.tuples(_PARTS, _PARTS), ys=st.tuples(_PARTS, _PARTS),
    limit=st.none() | st.tuples(_SIDES, _SIDES),
)  # fmt: skip
def test_a_view_lies_inside_its_picture_and_its_limit(
    width: int,
    height: int,
    xs: tuple[float, float],
    ys: tuple[float, float],
    limit: tuple[int, int] | None,
) -> None:
    """Its box is not empty, not off the scaled picture, and no larger than the limit or the region."""
    region = Region((min(xs), min(ys), max(xs), max(ys)))
    seen = view(width, height, region, limit)
    box = region.within(width, height)
    assert (seen is None) == (box is None)
    if seen is None or box is None:
        return
    assert seen.box is not None
    x1, y1, x2, y2 = seen.box
    assert 0 <= x1 < x2 <= seen.width <= width
    assert 0 <= y1 < y2 <= seen.height <= height
    assert (x2 - x1, y2 - y1) <= (box[2] - box[0], box[3] - box[1])
    if limit is not None:
        assert x2 - x1 <= limit[0]
        assert y2 - y1 <= limit[1]


def test_a_region_shows_what_is_there() -> None:
    """The lower right quarter of four colours is one colour, as large as asked for."""
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[48:, 64:] = 200
    jpeg = re_encode(encode(pixels, 95), Look((32, 32), 95, parse_region("0.5,0.5,1,1")))
    shown = simplejpeg.decode_jpeg(jpeg)
    assert shown.shape == (24, 32, 3)
    assert shown[3:, 3:].min() > 180


def test_a_region_refers_to_the_upright_picture() -> None:
    """A photo that is stored sideways is turned before it is cut."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40] = 200  # turned clockwise: the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=95, exif=exif)
    shown = simplejpeg.decode_jpeg(re_encode(stored.getvalue(), Look(region=parse_region("0,0,1,0.5"))))
    assert shown.shape == (40, 40, 3)
    assert shown[:30].min() > 150


def test_a_region_off_the_picture_is_told() -> None:
    """In pixels it may be, once a camera sends smaller pictures."""
    with pytest.raises(ValueError, match="off the picture, which has 64x48"):
        re_encode(encode(np.zeros((48, 64, 3), np.uint8), 90), Look(region=parse_region("10x10+64+0")))


def test_a_jpeg_without_its_tables_is_told() -> None:
    """USB cameras leave the Huffman tables out; such a frame is encoded anew."""
    jpeg = encode(np.zeros((48, 64, 3), np.uint8), 90)
    assert whole_jpeg(jpeg)
    assert not whole_jpeg(jpeg.replace(b"\xff\xc4", b"\xff\xfe"))
    assert not whole_jpeg(b"")
