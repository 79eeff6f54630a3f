"""Pixels to JPEG, and files to what goes on Kafka."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from riverlens_producer.view import Region, View, view

Pixels = NDArray[np.uint8]
"""RGB, uint8 [H, W, 3]."""

DEFAULT_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Look:
    """How a camera's pictures are changed before they are sent.

    Attributes:
        limit: width and height in pixels to scale down into; None: as it is.
        quality: of JPEGs encoded here, 1 to 100; None: 80.
        region: the part that is sent; None: all.
    """

    limit: tuple[int, int] | None = None
    quality: int | None = None
    region: Region | None = None

    @property
    def as_is(self) -> bool:
        """Whether an encoded picture goes out byte for byte."""
        return self.limit is None and self.quality is None and self.region is None

    def view(self, width: int, height: int) -> View:
        """How to scale and cut an upright picture of this size.

        Raises:
            ValueError: the region is off the picture.
        """
        seen = view(width, height, self.region, self.limit)
        if seen is None:
            raise ValueError(f"the region is off the picture, which has {width}x{height} pixels")
        return seen


def encode(pixels: Pixels, quality: int | None) -> bytes:
    """JPEG, 4:2:0, of RGB pixels."""
    jpeg: Any = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality or DEFAULT_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return bytes(jpeg)


def of_pixels(pixels: Pixels, look: Look, scaled: View) -> bytes:
    """JPEG of an upright picture that already has the view's size."""
    if scaled.box is not None:
        x1, y1, x2, y2 = scaled.box
        pixels = pixels[y1:y2, x1:x2]
    return encode(pixels, look.quality)


def re_encode(image: bytes, look: Look) -> bytes:
    """Any image as JPEG, upright, its region inside the limit.

    Raises:
        OSError, ValueError, SyntaxError: Pillow cannot read it, or the region is off it.
    """
    # Only this path needs Pillow: files go as they are by default.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415  # see above

    try:
        with Image.open(io.BytesIO(image)) as opened:
            # Decoding a JPEG to a fraction of its size is quick; a region in pixels would mean another then.
            if look.limit is not None and look.region is None:
                opened.draft("RGB", look.limit)
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError:
        raise ValueError("not an image that Pillow reads") from None
    except Image.DecompressionBombError as error:
        raise ValueError(error) from None
    seen = look.view(upright.width, upright.height)
    if (seen.width, seen.height) != upright.size:
        upright = upright.resize((seen.width, seen.height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return of_pixels(np.asarray(upright), look, seen)


def whole_jpeg(data: bytes) -> bool:
    """Whether this is a JPEG that any decoder reads: USB cameras often leave its Huffman tables out."""
    return data[:2] == b"\xff\xd8" and 0 <= data.find(b"\xff\xc4") < data.find(b"\xff\xda")
