"""Mean average precision at IoU 0.5, as the Pascal VOC challenge (2010 and later) defines it. Pure.

Objects under 16 px or of which less than 30 % can be seen are ignored: they are not asked for, and a
detection that fits one is not held against the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riverlens.scenes.truth import LABELS, Label, SceneObject

IOU = 0.5
LEAST_PX = 16
LEAST_VISIBLE = 0.3

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """What one scene gave: boxes [K, 4] ymin, xmin, ymax, xmax in 0..1; classes [K] from 1; scores [K]."""

    boxes: Floats
    classes: Floats
    scores: Floats


def asked_for(thing: SceneObject) -> bool:
    """Whether the object counts when it is missed."""
    return thing.size_px >= LEAST_PX and thing.visible >= LEAST_VISIBLE


def average_precision(found: Sequence[Found], truths: Sequence[Sequence[SceneObject]], label: Label) -> float:
    """Area under the precision-recall curve of one class."""
    kind = LABELS.index(label) + 1
    hits: list[tuple[float, bool]] = []
    asked = 0
    for one, objects in zip(found, truths, strict=True):
        same = [thing for thing in objects if thing.label == label]
        asked += sum(map(asked_for, same))
        chosen = one.classes == kind
        hits += _match(one.boxes[chosen], one.scores[chosen], same)
    if not hits or not asked:
        return 0.0
    right = np.array([hit for _, hit in sorted(hits, key=lambda pair: -pair[0])])
    recall = np.cumsum(right) / asked
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * envelope).sum())


def mean_average_precision(found: Sequence[Found], truths: Sequence[Sequence[SceneObject]]) -> float:
    """Mean over the classes of the street."""
    return float(np.mean([average_precision(found, truths, label) for label in LABELS]))


def recall_precision(
    found: Sequence[Found], truths: Sequence[Sequence[SceneObject]], least_score: float
) -> tuple[float, float]:
    """Over all classes, of detections with at least this score."""
    right = wrong = asked = 0
    for one, objects in zip(found, truths, strict=True):
        asked += sum(map(asked_for, objects))
        for number, label in enumerate(LABELS, 1):
            chosen = (one.classes == number) & (one.scores >= least_score)
            same = [thing for thing in objects if thing.label == label]
            hits = [hit for _, hit in _match(one.boxes[chosen], one.scores[chosen], same)]
            right += sum(hits)
            wrong += len(hits) - sum(hits)
    return right / max(1, asked), right / max(1, right + wrong)


def _match(boxes: Floats, scores: Floats, same: Sequence[SceneObject]) -> list[tuple[float, bool]]:
    """(score, right) of each detection that counts, best score first."""
    free = list(same)
    hits = []
    for index in np.argsort(-scores, kind="stable"):
        overlaps = [_overlap(boxes[index], thing) for thing in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < IOU:
            hits.append((float(scores[index]), False))
            continue
        if asked_for(free.pop(best)):
            hits.append((float(scores[index]), True))
    return hits


def _overlap(box: Floats, thing: SceneObject) -> float:
    y1, x1, y2, x2 = (float(edge) for edge in box)
    both = max(0.0, min(x2, thing.x2) - max(x1, thing.x1)) * max(0.0, min(y2, thing.y2) - max(y1, thing.y1))
    ours, theirs = (x2 - x1) * (y2 - y1), (thing.x2 - thing.x1) * (thing.y2 - thing.y1)
    return both / (ours + theirs - both) if both > 0 else 0.0
