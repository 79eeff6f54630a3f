"""What the network should say of a scene: a heatmap a class with a peak per object, and its distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from riverlens.scenes.truth import LABELS, SceneObject
from riverlens_serving.street.network import CELLS, CLASSES

LEAST_VISIBLE = 0.3
_OWNED = 0.5
_BESIDE = 0.4
_REACH = 0.18
"""Spread of a peak as a share of the object's size, at least half a cell."""

Floats = NDArray[np.float32]


def targets(objects: Sequence[SceneObject]) -> tuple[Floats, Floats, Floats]:
    """Targets of one scene.

    Returns:
        heat [32, 32, 3], 1 at each object's cell and falling off around it; -1 where a hidden object
        makes any answer right. ltrb [32, 32, 4]: distances in cells. near [32, 32]: weight of the
        distances, above 0 only around objects.
    """
    heat = np.zeros((CELLS, CELLS, CLASSES), np.float32)
    ltrb = np.zeros((CELLS, CELLS, 4), np.float32)
    near = np.zeros((CELLS, CELLS), np.float32)
    ys, xs = np.mgrid[0:CELLS, 0:CELLS].astype(np.float32) + 0.5
    # Nearest last: what stands in front owns the cell.
    for thing in objects:
        x1, y1, x2, y2 = (value * CELLS for value in (thing.x1, thing.y1, thing.x2, thing.y2))
        kind = LABELS.index(thing.label)
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        if thing.visible < LEAST_VISIBLE:
            inside = (xs > x1) & (xs < x2) & (ys > y1) & (ys < y2) & (heat[..., kind] < 1)
            heat[inside, kind] = -1
            continue
        column, row = min(CELLS - 1, int(cx)), min(CELLS - 1, int(cy))
        sx, sy = max(0.5, (x2 - x1) * _REACH), max(0.5, (y2 - y1) * _REACH)
        peak = np.exp(-0.5 * (((xs - column - 0.5) / sx) ** 2 + ((ys - row - 0.5) / sy) ** 2))
        heat[..., kind] = np.maximum(heat[..., kind], peak)
        distances = np.stack([xs - x1, ys - y1, x2 - xs, y2 - ys], axis=-1)
        # A peak may come out one cell off: the cells around must know the box too.
        beside = (np.abs(xs - cx) < 1) & (np.abs(ys - cy) < 1)
        weight = np.where(beside, np.maximum(peak, _BESIDE), peak)
        owns = ((peak > _OWNED) | beside) & (weight >= near * 0.7)
        owns[row, column] = True
        ltrb[owns] = distances[owns]
        near[owns] = weight[owns]
    return heat, ltrb, near


def cropped(objects: Sequence[SceneObject], window: tuple[float, float, float, float]) -> list[SceneObject]:
    """The objects as seen through a window (x1, y1, x2, y2 in 0..1): cut, enlarged, or left out.

    What the window cuts away of an object is no more visible.
    """
    left, top, right, low = window
    wide, high = right - left, low - top
    seen = []
    for thing in objects:
        x1, x2 = ((min(max(x, left), right) - left) / wide for x in (thing.x1, thing.x2))
        y1, y2 = ((min(max(y, top), low) - top) / high for y in (thing.y1, thing.y2))
        if x2 <= x1 or y2 <= y1:
            continue
        share = (x2 - x1) * wide * (y2 - y1) * high / ((thing.x2 - thing.x1) * (thing.y2 - thing.y1))
        seen.append(replace(thing, x1=x1, y1=y1, x2=x2, y2=y2, visible=thing.visible * share))
    return seen
