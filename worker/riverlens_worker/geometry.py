"""Where an image lies in the pixels that a model is fed, and its boxes back from there. Pure.

Stretched, it fills them; letterboxed, it keeps its proportions and lies in the middle of gray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """An image inside what is fed, all in pixels.

    Attributes:
        width, height: of all that is fed.
        left, top: the image's upper left corner in it.
        inner_width, inner_height: the image's own size in it.
    """

    width: int
    height: int
    left: int
    top: int
    inner_width: int
    inner_height: int


def stretched(size: tuple[int, int], height: int | None, width: int | None, longest: int | None) -> Place:
    """An image of `size` (width, height) in a fixed size; where None, in its own proportions or size.

    `longest` is the longest side to scale down to where no side is fixed, or None.
    """
    own_width, own_height = size
    if width is not None or height is not None:
        # A model that fixes one side alone takes the image in its own proportions.
        return _whole(
            width or max(1, round(own_width * (height or 1) / own_height)),
            height or max(1, round(own_height * (width or 1) / own_width)),
        )
    if longest is not None and max(size) > longest:
        scale = longest / max(size)
        return _whole(max(1, round(own_width * scale)), max(1, round(own_height * scale)))
    return _whole(own_width, own_height)


def letterboxed(size: tuple[int, int], height: int, width: int) -> Place:
    """An image of `size` (width, height) as large as it fits into `height` x `width`, in the middle."""
    scale = min(width / size[0], height / size[1])
    inner_width = min(width, max(1, round(size[0] * scale)))
    inner_height = min(height, max(1, round(size[1] * scale)))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    return Place(width, height, left, top, inner_width, inner_height)


def _whole(width: int, height: int) -> Place:
    return Place(width, height, 0, 0, width, height)


def to_fractions(
    corners: NDArray[np.float32], places: Sequence[Place], image: NDArray[np.intp], *, in_pixels: bool
) -> NDArray[np.float32]:
    """Boxes [M,4] (x1, y1, x2, y2) of what was fed become fractions of the images in it.

    Args:
        corners: in pixels of what was fed, or fractions of it.
        places: one for each image.
        image: [M], which of the images each box is of.
        in_pixels: whether `corners` are in pixels.
    """
    fed = np.array([(p.width, p.height) * 2 for p in places], np.float32)[image]
    start = np.array([(p.left, p.top) * 2 for p in places], np.float32)[image]
    inner = np.array([(p.inner_width, p.inner_height) * 2 for p in places], np.float32)[image]
    pixels = corners if in_pixels else corners * fed
    fractions: NDArray[np.float32] = (pixels - start) / inner
    return fractions
