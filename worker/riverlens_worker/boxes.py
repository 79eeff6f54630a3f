"""The forms in which models write boxes down, and which of many that overlap stay. Pure.

A table [N,K,7] is (image, ymin, xmin, ymax, xmax, score, class), as automl's EfficientDet writes it; [N,K,6]
is (x1, y1, x2, y2, score, class), as Ultralytics writes it with NMS inside. All else is raw: [N,4+classes,K]
as of YOLOv8, [N,K,5+classes] with objectness as of YOLOv5 (more than 1,000 boxes), without as of DETR and
where COCO's 80 classes fit exactly; what follows the classes (mask coefficients) is left out where labels
tell how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]

DEFAULT_IOU = 0.5
"""Of raw boxes, where the setting nms_iou says nothing."""
_MOST_FINISHED = 1_000
"""Models that have chosen their boxes answer at most so many."""
_MOST_COMPARED = 1_000
_CORNERS = 4
_COCO_CLASSES = 80
"""What a table is taken for that has just room for them: most models are published with these."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, apart.

    Attributes:
        boxes: [N,K,4].
        scores: [N,K], or [N,K,classes].
        classes: [N,K]; None where every class has its score.
        objectness: [N,K], to multiply scores with, or None.
        order: the order of `boxes` in this form.
        in_pixels: their unit in this form; None: it varies.
    """

    boxes: Numbers
    scores: Numbers
    classes: Numbers | None
    objectness: Numbers | None
    order: str
    in_pixels: bool | None = None


def split_table(table: Numbers, class_count: int | None) -> Table | None:
    """A table [N,a,b] by its shape; None where no form has it. `class_count` as the labels tell it."""
    _, first, last = table.shape
    if last == 7 and first <= _MOST_FINISHED:  # noqa: PLR2004  # columns
        return Table(table[:, :, 1:5], table[:, :, 5], table[:, :, 6], None, "yxyx", in_pixels=True)
    if last == 6 and first <= _MOST_FINISHED:  # noqa: PLR2004  # columns
        return Table(table[:, :, :4], table[:, :, 4], table[:, :, 5], None, "xyxy")
    planar = first < last
    rows = table.transpose(0, 2, 1) if planar else table
    columns = rows.shape[2] - _CORNERS
    if columns < 1:
        return None
    objectness = _has_objectness(columns, class_count, likely=not planar and first > _MOST_FINISHED)
    start = _CORNERS + objectness
    count = columns - objectness if class_count is None else min(columns - objectness, class_count)
    if count < 1:
        return None
    return Table(
        rows[:, :, :_CORNERS],
        rows[:, :, start : start + count],
        None,
        rows[:, :, _CORNERS] if objectness else None,
        "cxcywh",
    )


def _has_objectness(columns: int, class_count: int | None, *, likely: bool) -> bool:
    if class_count == columns or (class_count is None and columns == _COCO_CLASSES):
        return False
    return likely or class_count == columns - 1


def columns_guessed(table: Table, class_count: int | None) -> str:
    """In words, how a raw table's columns were taken where labels do not tell; "" where nothing is open."""
    if class_count is not None or table.classes is not None:
        return ""
    objectness = "objectness and " if table.objectness is not None else ""
    return f"{objectness}scores of {table.scores.shape[2]} classes behind each box"


def to_corners(boxes: Numbers, order: str) -> Numbers:
    """Boxes [...,4] of any order as x1, y1, x2, y2."""
    if order == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    if order == "xyxy":
        return boxes
    middle, size = (boxes[..., :2], boxes[..., 2:])
    if order == "cycxhw":
        middle, size = middle[..., ::-1], size[..., ::-1]
    return np.concatenate([middle - size / 2, middle + size / 2], axis=-1)


def sigmoid(logits: Numbers) -> Numbers:
    """Each logit as a probability of its own."""
    # Beyond 88 float32 overflows, and the answer is 0 or 1 long before.
    powers: Numbers = np.exp(-np.clip(logits, -60, 60))
    return np.reciprocal(1 + powers)


def softmax(logits: Numbers) -> Numbers:
    """Logits [...,K] as probabilities that sum up to 1."""
    powers: Numbers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: Numbers = powers / powers.sum(axis=-1, keepdims=True)
    return found


def suppress(corners: Numbers, scores: Numbers, classes: Numbers, iou: float, most: int) -> NDArray[np.intp]:
    """Places of the boxes that stay, best first: greedy, each class by itself.

    Args:
        corners: [K,4] x1, y1, x2, y2.
        scores: [K].
        classes: [K].
        iou: a box that overlaps a better one of its class more than this goes.
        most: at most so many stay. Of all boxes the best 1,000 are compared.
    """
    order = np.argsort(-scores, kind="stable")[:_MOST_COMPARED]
    areas = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0), axis=1)
    kept: list[np.intp] = []
    while len(order) and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[rest, :2])
        high = np.minimum(corners[best, 2:], corners[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        same = shared > iou * (areas[best] + areas[rest] - shared)
        order = rest[~(same & (classes[rest] == classes[best]))]
    return np.array(kept, np.intp)
