"""Pixels to JPEG, and files to what goes on Kafka."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, uint8 [H, W, 3]."""

DEFAULT_QUALITY = 80


def encode(pixels: Pixels, quality: int | None) -> bytes:
    """JPEG, 4:2:0, of RGB pixels."""
    jpeg: Any = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality or DEFAULT_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return bytes(jpeg)


def fit(width: int, height: int, limit: tuple[int, int] | None) -> tuple[int, int]:
    """The largest size of the same shape inside `limit` (width, height), never larger than it is."""
    if limit is None:
        return width, height
    scale = min(1.0, limit[0] / width, limit[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def re_encode(image: bytes, *, limit: tuple[int, int] | None, quality: int | None) -> bytes:
    """Any image as JPEG, upright, inside `limit`.

    Raises:
        OSError, ValueError, SyntaxError: Pillow cannot read it.
    """
    # Only this path needs Pillow: files go as they are by default.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415  # see above

    try:
        with Image.open(io.BytesIO(image)) as opened:
            if limit is not None:
                opened.draft("RGB", limit)
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError:
        raise ValueError("not an image that Pillow reads") from None
    except Image.DecompressionBombError as error:
        raise ValueError(error) from None
    size = fit(upright.width, upright.height, limit)
    if size != upright.size:
        upright = upright.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return encode(np.asarray(upright), quality)
