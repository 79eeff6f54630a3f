"""What the model takes of each frame, and one row of it. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from riverlens.signature import InputKind, Layout, PixelRule
from riverlens_worker.geometry import Place, letterboxed, stretched
from riverlens_worker.message import message


@dataclass(frozen=True, slots=True)
class Target:
    """What the model takes, and the limits.

    Attributes:
        kind, dtype: encoded bytes, or pixels of this dtype.
        height, width: the fixed input size, or None for any.
        input_size: longest side to scale down to where any size goes, or None.
        max_frame_bytes, max_pixels: larger frames are refused.
        by_size: encoded strings of different image sizes cannot share a call.
        rule: how pixels become the row's numbers.
    """

    kind: InputKind
    dtype: str
    height: int | None
    width: int | None
    input_size: int | None
    max_frame_bytes: int
    max_pixels: int
    by_size: bool = False
    rule: PixelRule = field(default_factory=PixelRule)

    @classmethod
    def of(cls, layout: Layout, *, input_size: int | None, max_frame_bytes: int, max_pixels: int) -> Target:
        """The target of a signature's layout."""
        return cls(
            layout.kind,
            layout.dtype,
            layout.height,
            layout.width,
            input_size,
            max_frame_bytes,
            max_pixels,
            rule=layout.rule,
        )

    @property
    def row_bytes(self) -> int | None:
        """Size of a row of pixels; None where it depends on the image."""
        if self.kind is InputKind.ENCODED or self.height is None or self.width is None:
            return None
        number = 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize  # NumPy lacks it
        return self.height * self.width * (1 if self.rule.gray else 3) * number

    def place(self, size: tuple[int, int], *, as_it_is: bool = False) -> Place:
        """Where an image of `size` (width, height) lies in its row; `as_it_is`: its own bytes are the row."""
        if as_it_is:
            return stretched(size, None, None, None)
        if self.rule.letterbox and self.height is not None and self.width is not None:
            return letterboxed(size, self.height, self.width)
        return stretched(size, self.height, self.width, self.input_size)


@message
class Row:
    """One row of the model's input.

    Attributes:
        row: bytes, or [H, W, 3] of the target's dtype; [3, H, W] where its rule says planar.
        shape: rows of one call have equal shapes.
        nbytes: size of `row`.
        size: (width, height) as a person sees the image.
        reencoded: why the bytes are not the frame's own ("" where they are).
    """

    row: bytes | NDArray[np.generic]
    shape: Hashable
    nbytes: int
    size: tuple[int, int]
    reencoded: str = ""
