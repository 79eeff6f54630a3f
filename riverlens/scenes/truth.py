"""What a scene holds: the picture and, for every object in it, where it is and how much of it can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np

Label = Literal["car", "person", "bicycle"]

LABELS: Final[tuple[Label, ...]] = ("car", "person", "bicycle")
"""The classes of the street, in the order of the demo detector's class ids (1, 2, 3)."""


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object: the box of its outline, cut at the picture's edge but not where something hides it.

    `x1, y1, x2, y2` are fractions of the picture's width and height (0 to 1, x1 < x2, y1 < y2); `visible` is the
    part of the whole outline, the part outside the picture included, that can be seen (0 to 1); `size_px` is the
    square root of the box's area in pixels (COCO's measure of size). A bicycle's box holds its rider too: a rider is
    not a person here.
    """

    label: Label
    x1: float
    y1: float
    x2: float
    y2: float
    visible: float
    size_px: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, uint8 [H, W, 3] RGB, and its objects, the farthest first."""

    image: np.ndarray
    objects: tuple[SceneObject, ...]
