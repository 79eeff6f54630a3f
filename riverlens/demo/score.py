"""How well the detections of synthetic scenes fit the scenes' truth. Pure.

A detection is right when it has the class of an object and overlaps it by IoU >= 0.5; each object counts
once. Objects under 16 px or of which less than 30 % can be seen are neither asked for nor held against a
detection that finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from riverlens.event import Detection
from riverlens.scenes.truth import SceneObject

IOU = 0.5
LEAST_PX = 16
LEAST_VISIBLE = 0.3

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over frames; recall and precision are None where nothing was there to count."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    @property
    def recall(self) -> float | None:
        """Share of the objects that were found."""
        asked = self.right + self.missed
        return self.right / asked if asked else None

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right."""
        given = self.right + self.wrong
        return self.right / given if given else None


def score_frame(detections: Sequence[Detection], objects: Sequence[SceneObject]) -> Score:
    """Match one frame's detections, best score first, to its objects."""
    free = list(objects)
    right = wrong = 0
    for found in sorted(detections, key=lambda one: -one.score):
        best = max(
            (thing for thing in free if thing.label == found.label),
            key=lambda thing: overlap(found.box, box_of(thing)),
            default=None,
        )
        if best is None or overlap(found.box, box_of(best)) < IOU:
            wrong += 1
            continue
        free.remove(best)
        right += _asked_for(best)
    return Score(right, wrong, sum(_asked_for(thing) for thing in free))


def box_of(thing: SceneObject) -> Box:
    """(x1, y1, x2, y2) of an object, 0..1."""
    return thing.x1, thing.y1, thing.x2, thing.y2


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _asked_for(thing: SceneObject) -> bool:
    return thing.size_px >= LEAST_PX and thing.visible >= LEAST_VISIBLE
