"""Frames made small for the wall's tiles: what hostile ones cost."""

from __future__ import annotations

import struct

import pytest

from riverlens_wall.looks import look_at
from riverlens_wall.scaling import UnscalableError, scaled


def test_an_image_larger_than_its_header_says_is_not_decoded() -> None:
    """A GIF of 10 x 10 whose one frame has 65535 x 65535: whoever else sets Pillow's limit, ours holds."""
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 65535, 65535, 0) + b"\x02\x01\x00\x00;"
    image = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0, 0, 0) + frame
    look = look_at(image, None)
    assert look.size == (10, 10)
    with pytest.raises(UnscalableError, match="DecompressionBombError"):
        scaled(image, look, 240)
