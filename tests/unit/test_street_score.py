"""The score of the street detector: what counts as found, what as wrong, what is not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from riverlens.scenes import LABELS, SceneObject
from riverlens_serving.street.score import (
    Found,
    asked_for,
    average_precision,
    mean_average_precision,
    recall_precision,
)

CAR = SceneObject("car", 0.1, 0.2, 0.5, 0.6, 1.0, 150.0)
HIDDEN = SceneObject("car", 0.6, 0.2, 0.9, 0.6, 0.2, 140.0)
TINY = SceneObject("car", 0.6, 0.8, 0.61, 0.82, 1.0, 9.0)
FAR_AWAY = (0.0, 0.9, 0.05, 0.99)


def found(*rows: tuple[tuple[float, float, float, float], int, float]) -> Found:
    """Rows of (ymin, xmin, ymax, xmax), class id, score."""
    boxes, classes, scores = (
        np.array([row[part] for row in rows], np.float32).reshape((-1, 4) if part == 0 else -1)
        for part in range(3)
    )
    return Found(boxes, classes, scores)


def box(thing: SceneObject, shift: float = 0.0) -> tuple[float, float, float, float]:
    """The thing's box as the model writes it, moved right by `shift`."""
    return thing.y1, thing.x1 + shift, thing.y2, thing.x2 + shift


@pytest.mark.parametrize(
    ("thing", "asked"),
    [
        (CAR, True),
        (HIDDEN, False),
        (TINY, False),
        (SceneObject("car", 0, 0, 1, 1, 0.3, 16.0), True),
        (SceneObject("car", 0, 0, 1, 1, 0.3, 15.9), False),
        (SceneObject("car", 0, 0, 1, 1, 0.29, 16.0), False),
    ],
)
def test_small_and_hidden_objects_are_not_asked_for(thing: SceneObject, asked: bool) -> None:  # noqa: FBT001  # a table's column
    """An object counts when it is at least 16 px large and at least 30 % of it can be seen."""
    assert asked_for(thing) is asked


@pytest.mark.parametrize(
    ("rows", "recall", "precision"),
    [
        pytest.param([(box(CAR), 1, 0.9)], 1.0, 1.0, id="exact"),
        pytest.param([(box(CAR, 0.13), 1, 0.9)], 1.0, 1.0, id="IoU 0.51"),
        pytest.param([(box(CAR, 0.14), 1, 0.9)], 0.0, 0.0, id="IoU 0.48"),
        pytest.param([(box(CAR), 2, 0.9)], 0.0, 0.0, id="another class"),
        pytest.param([(box(CAR), 1, 0.29)], 0.0, 0.0, id="below the least score"),
        pytest.param([(box(CAR), 1, 0.9), (box(CAR), 1, 0.8)], 1.0, 0.5, id="found twice"),
        pytest.param([(box(CAR), 1, 0.9), (FAR_AWAY, 1, 0.8)], 1.0, 0.5, id="nothing there"),
        pytest.param([(box(HIDDEN), 1, 0.9)], 0.0, 0.0, id="a hidden one alone is neither right nor wrong"),
        pytest.param([(box(CAR), 1, 0.9), (box(HIDDEN), 1, 0.8)], 1.0, 1.0, id="a hidden one as well"),
        pytest.param([], 0.0, 0.0, id="nothing found"),
    ],
)
def test_recall_and_precision(
    rows: list[tuple[tuple[float, float, float, float], int, float]], recall: float, precision: float
) -> None:
    """Each object is found once, by a box of its class with IoU of at least 0.5."""
    one = [found(*rows)] if rows else [found()]
    assert recall_precision(one, [[CAR, HIDDEN, TINY]], least_score=0.3) == pytest.approx((recall, precision))


def test_average_precision_is_the_area_under_the_curve() -> None:
    """Right, wrong, right by falling score over two objects: 1/2 x 1 + 1/2 x 2/3."""
    other = SceneObject("car", 0.1, 0.65, 0.5, 0.95, 1.0, 150.0)
    rows = found((box(CAR), 1, 0.9), (FAR_AWAY, 1, 0.8), (box(other), 1, 0.7))
    assert average_precision([rows], [[CAR, other]], "car") == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_the_best_score_counts_first_across_scenes() -> None:
    """A wrong box with a high score in one scene costs precision of the right one in another."""
    truths = [[CAR], []]
    first = [found((box(CAR), 1, 0.9)), found((FAR_AWAY, 1, 0.5))]
    last = [found((box(CAR), 1, 0.5)), found((FAR_AWAY, 1, 0.9))]
    assert average_precision(first, truths, "car") == pytest.approx(1.0)
    assert average_precision(last, truths, "car") == pytest.approx(0.5)


def test_perfect_detections_score_one() -> None:
    """The mean over the classes is 1 where every object of each class is found and nothing else."""
    objects = [
        SceneObject(label, 0.1 * n, 0.1, 0.1 * n + 0.2, 0.7, 1.0, 90.0) for n, label in enumerate(LABELS)
    ]
    rows = found(*((box(thing), number, 0.9) for number, thing in enumerate(objects, 1)))
    assert mean_average_precision([rows], [objects]) == pytest.approx(1.0)
