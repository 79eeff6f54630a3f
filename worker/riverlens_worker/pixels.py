"""From upright RGB pixels to the numbers that a model takes. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from numpy.typing import NDArray

from riverlens.signature import PixelRule
from riverlens.signature.specs import FLOATS
from riverlens_worker.geometry import Place

Pixels = NDArray[np.uint8]

TURNED = frozenset({5, 6, 7, 8})
"""Exif orientations that swap width and height."""

_GRAY = 114
"""Beside a letterboxed image, as YOLO models are trained."""


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply the Exif orientation: 2 mirror, 3 turn 180, 4 flip, 5 transpose, 6 turn right, 7, 8 left."""
    if orientation in TURNED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


_BILINEAR = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear), use_alpha=False)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """[H, W, 3] as [height, width, 3]: antialiased bilinear; Pillow's values, +-1, in a third of the time."""
    seen = ImageData(pixels.shape[1], pixels.shape[0], PixelType.U8x3, pixels.tobytes())
    wanted = ImageData(width, height, PixelType.U8x3)
    # One of their own for each image: a resizer serves one thread at a time, and keeps its largest buffers.
    Resizer().resize(seen, wanted, _BILINEAR)
    return np.frombuffer(wanted.get_buffer(), np.uint8).reshape(height, width, 3)


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def boxed(pixels: Pixels, place: Place) -> Pixels:
    """An image of the place's inner size, in the middle of gray: [H, W, 3]."""
    canvas = np.full((place.height, place.width, 3), _GRAY, np.uint8)
    canvas[place.top : place.top + place.inner_height, place.left : place.left + place.inner_width] = pixels
    return canvas


def to_numbers(pixels: Pixels, dtype: str, rule: PixelRule) -> NDArray[Any]:
    """Pixels [H, W, 3] in the dtype, range, channels and layout that the model takes.

    Of bfloat16, which NumPy lacks, the bits: uint16.
    """
    if rule.gray:
        pixels = brightness(pixels)
    elif rule.bgr:
        pixels = pixels[:, :, ::-1]
    row: NDArray[Any] = pixels if dtype == "uint8" else _scaled(pixels, dtype, rule)
    if rule.planar:
        row = row.transpose(2, 0, 1)
    return np.ascontiguousarray(row)


def brightness(pixels: Pixels) -> Pixels:
    """[H, W, 3] as [H, W, 1]: the luma of JPEG (ITU-R BT.601), as TensorFlow's `rgb_to_grayscale`."""
    luma = pixels.astype(np.float32) @ _LUMA
    return luma.round().astype(np.uint8)[:, :, None]


def _scaled(pixels: Pixels, dtype: str, rule: PixelRule) -> NDArray[Any]:
    if dtype not in FLOATS:
        return pixels.astype(dtype)
    scale, offset = rule.affine()
    # Half precision cannot hold the way there.
    row: NDArray[np.float32 | np.float64]
    row = pixels.astype(np.float64) if dtype == "float64" else pixels.astype(np.float32)
    if set(scale) != {1.0}:
        row *= np.array(scale, row.dtype) if len(set(scale)) > 1 else row.dtype.type(scale[0])
    if any(offset):
        row += np.array(offset, row.dtype) if len(set(offset)) > 1 else row.dtype.type(offset[0])
    if dtype == "bfloat16":
        return _halved(row.astype(np.float32))
    return row.astype(np.float16) if dtype == "float16" else row


def _halved(row: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32, rounded to nearest even."""
    bits = row.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
