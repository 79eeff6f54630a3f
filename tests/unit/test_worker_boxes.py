"""Boxes in every form: orders, tables, and which of many that overlap stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from riverlens.signature import ModelFacts, SignatureSpec, TensorSpec, choose
from riverlens_worker.boxes import split_table, suppress, to_corners
from riverlens_worker.detections import MisshapenReplyError, Reading, read_answers, settle
from tests.worker_parts import examples


@examples(60)
@given(st.integers(0, 60), st.integers(0, 999), st.floats(0.1, 0.9), st.integers(1, 9))
def test_nms_is_the_plain_greedy_one(count: int, seed: int, iou: float, most: int) -> None:
    """The best box stays, those of its class that overlap it more go, and so on: as two loops say it."""
    chance = np.random.default_rng(seed)
    low = chance.uniform(0, 0.6, (count, 2))
    corners = np.concatenate([low, low + chance.uniform(0.05, 0.4, (count, 2))], 1).astype(np.float32)
    scores = chance.uniform(0, 1, count).astype(np.float32)
    classes = chance.integers(0, 2, count).astype(np.float32)
    stay: list[int] = []
    for k in sorted(range(count), key=lambda k: -scores[k]):
        if all(classes[k] != classes[other] or _iou(corners[k], corners[other]) <= iou for other in stay):
            stay.append(k)
    assert suppress(corners, scores, classes, iou, most).tolist() == stay[:most]


def _iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared)


@pytest.mark.parametrize(
    ("order", "box"),
    [
        ("xyxy", [1, 2, 5, 10]),
        ("yxyx", [2, 1, 10, 5]),
        ("cxcywh", [3, 6, 4, 8]),
        ("cycxhw", [6, 3, 8, 4]),
    ],
)
def test_boxes_of_every_order_become_corners(order: str, box: list[float]) -> None:
    """x1, y1, x2, y2, however written."""
    assert to_corners(np.array(box, np.float32), order).tolist() == [1, 2, 5, 10]


@pytest.mark.parametrize(
    ("shape", "class_count", "classes", "objectness"),
    [
        ((100, 7), None, None, False),
        ((300, 6), None, None, False),
        ((84, 8400), None, 80, False),
        ((116, 8400), 80, 80, False),
        ((7, 2100), None, 3, False),
        ((25200, 85), None, 80, True),
        ((25200, 84), 80, 80, False),
        ((25200, 117), 80, 80, True),
        ((300, 84), None, 80, False),
        ((300, 85), 80, 80, True),
        ((84, 8400), 91, 80, False),
    ],
)
def test_a_tables_columns_follow_from_its_shape(
    shape: tuple[int, int], class_count: int | None, classes: int | None, *, objectness: bool
) -> None:
    """Finished rows, raw boxes either way round, with or without objectness, with mask coefficients."""
    table = split_table(np.zeros((1, *shape), np.float32), class_count)
    assert table is not None
    assert (table.objectness is not None) == objectness
    assert (table.scores.shape[2] if table.classes is None else None) == classes
    assert table.boxes.shape[1:] == (max(shape), 4)


def test_tables_without_a_form_are_refused() -> None:
    """Too few columns for a box and a class; the error says the shape."""
    assert split_table(np.zeros((1, 3, 4), np.float32), None) is None
    assert split_table(np.zeros((1, 2000, 5), np.float32), None) is None
    spec = SignatureSpec(
        {"x": TensorSpec("uint8", (None, None, None, 3))}, {"t": TensorSpec("float32", (None, None, None))}
    )
    layout = choose({"s": spec}, None, ModelFacts(kind="detection"))
    with pytest.raises(MisshapenReplyError, match=r"\(1, 3, 4\)"):
        settle(layout, {"t": np.zeros((1, 3, 4), np.float32)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_raw_boxes_that_are_no_numbers_are_left_out(bad: float) -> None:
    """NaN or infinity in boxes or scores costs that box, without a word on standard error."""
    spec = SignatureSpec(
        {"x": TensorSpec("uint8", (1, None, None, 3))}, {"t": TensorSpec("float32", (1, 6, 2000))}
    )
    facts = ModelFacts(kind="detection", boxes="normalised_cxcywh", labels={0: "cat", 1: "dog"})
    layout = choose({"s": spec}, None, facts)
    table = np.zeros((1, 6, 2000), np.float32)
    table[0, :, 5] = (0.5, 0.5, 0.2, 0.2, 0.9, 0.1)
    table[0, :, 6] = (bad, 0.5, 0.2, 0.2, 0.8, 0.1)
    table[0, :, 7] = (0.1, 0.1, bad, 0.2, 0.8, 0.1)
    table[0, :, 8] = (0.1, 0.1, 0.1, 0.2, bad, 0.1)
    settled, warnings = settle(layout, {"t": np.zeros((1, 6, 2000), np.float32)})
    (answer,) = read_answers(settled, {"t": table}, 1, Reading())
    assert [found.score for found in answer.detections or ()] == [pytest.approx(0.9)]
    assert warnings == ()
