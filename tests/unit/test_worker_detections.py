"""From a reply's tensors to what events say, however the model words them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from riverlens.event import Detection
from riverlens.signature import DetectionRule, InputKind, Layout, OutputKind
from riverlens_worker.detections import MisshapenReplyError, Reading, name_of, read_answers
from riverlens_worker.messages import Answer
from tests.worker_parts import examples

NAMES = {1: "person", 3: "car"}
READING = Reading(NAMES, min_score=0.3, max_detections=5)
Array = NDArray[Any]


def _layout(kind: OutputKind, *outputs: str) -> Layout:
    count = "num_detections" if "num_detections" in outputs else None
    rule = DetectionRule("detection_boxes", "detection_scores", "detection_classes", count)
    rule_of = rule if kind is OutputKind.DETECTIONS else None
    return Layout("s", "x", InputKind.PIXELS, "uint8", None, None, None, kind, outputs, detection=rule_of)


DETECTOR = _layout(OutputKind.DETECTIONS, "detection_boxes", "detection_scores", "detection_classes")
COUNTED = _layout(OutputKind.DETECTIONS, *DETECTOR.outputs, "num_detections")


def _reply(rows: int, slots: int, seed: int = 0) -> dict[str, Array]:
    chance = np.random.default_rng(seed)
    low, high = chance.uniform(0, 0.5, (rows, slots, 2)), chance.uniform(0.5, 1, (rows, slots, 2))
    return {
        "detection_boxes": np.concatenate([low, high], axis=2).astype(np.float32),
        "detection_scores": chance.uniform(0, 1, (rows, slots)).astype(np.float32),
        "detection_classes": chance.integers(1, 5, (rows, slots)).astype(np.float32),
    }


def _found(answer: Answer) -> list[Detection]:
    assert answer.detections is not None
    assert answer.classes is None
    assert answer.outputs is None
    return list(answer.detections)


@examples(100)
@given(st.integers(1, 5), st.integers(0, 12), st.integers(0, 999), st.lists(st.integers(-3, 30)))
def test_each_row_says_what_its_slots_say(rows: int, slots: int, seed: int, counts: list[int]) -> None:
    """As a plain loop would: good slots below the count, best first, at most so many, corners x1 y1 x2 y2."""
    reply = _reply(rows, slots, seed)
    layout = DETECTOR
    told = [slots] * rows
    if len(counts) >= rows:
        layout = COUNTED
        reply["num_detections"] = np.array(counts[:rows], np.float32)
        told = counts[:rows]
    answers = read_answers(layout, reply, rows, READING)
    assert len(answers) == rows
    for row, answer in enumerate(answers):
        scores = reply["detection_scores"][row]
        good = [k for k in range(slots) if k < told[row] and scores[k] >= 0.3]
        good = sorted(good, key=lambda k: -scores[k])[:5]
        found = _found(answer)
        assert [each.score for each in found] == [float(scores[k]) for k in good]
        for each, k in zip(found, good, strict=True):
            y1, x1, y2, x2 = reply["detection_boxes"][row, k].tolist()
            number = int(reply["detection_classes"][row, k])
            assert each.box == (x1, y1, x2, y2)
            assert (each.class_id, each.label) == (number, NAMES.get(number, f"class-{number}"))


@examples()
@given(st.permutations(range(6)))
def test_rows_do_not_depend_on_each_other(order: list[int]) -> None:
    """A permuted batch gives the same answers, permuted: no frame gets another one's boxes."""
    reply = _reply(6, 4)
    straight = [_found(a) for a in read_answers(DETECTOR, reply, 6, READING)]
    permuted = {alias: array[order] for alias, array in reply.items()}
    assert [_found(a) for a in read_answers(DETECTOR, permuted, 6, READING)] == [straight[k] for k in order]


@pytest.mark.parametrize(
    ("alias", "bad"),
    [
        ("detection_scores", np.nan),
        ("detection_scores", np.inf),
        ("detection_scores", -np.inf),
        ("detection_classes", np.nan),
        ("detection_classes", np.inf),
        ("detection_boxes", np.nan),
        ("detection_boxes", np.inf),
    ],
)
def test_what_is_no_number_is_no_finding(alias: str, bad: float) -> None:
    """A slot with NaN or infinity in it is left out, the others stay: an event can hold numbers only."""
    reply = _reply(1, 3)
    reply["detection_scores"][:] = 0.9
    reply[alias][0, 1] = bad
    found = _found(read_answers(DETECTOR, reply, 1, READING)[0])
    assert len(found) == 2
    assert None not in orjson.loads(orjson.dumps([each.score for each in found]))


@pytest.mark.parametrize(
    ("count", "expected"), [(-1.0, 0), (0.0, 0), (2.0, 2), (99.0, 3), (np.nan, 0), (np.inf, 3), (-np.inf, 0)]
)
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_the_count_cuts_the_slots_and_no_count_breaks(
    count: float, expected: int, shape: tuple[int, ...]
) -> None:
    """`num_detections` beyond the slots, below zero or not a number: as many as make sense."""
    reply = _reply(1, 3)
    reply["detection_scores"][:] = 0.9
    reply["num_detections"] = np.full(shape, count, np.float32)
    assert len(_found(read_answers(COUNTED, reply, 1, READING)[0])) == expected


def test_boxes_lie_inside_the_image_with_corners_in_order() -> None:
    """Boxes that stick out are cut at the edge; ones turned inside out become empty, never negative."""
    reply = _reply(1, 2)
    reply["detection_scores"][:] = 0.9
    reply["detection_boxes"][0] = [[-0.5, -2, 1.5, 3], [0.8, 0.7, 0.2, 0.1]]
    first, second = (each.box for each in _found(read_answers(DETECTOR, reply, 1, READING)[0]))
    assert first == (0, 0, 1, 1)
    assert second == pytest.approx((0.7, 0.8, 0.7, 0.8))


MISSHAPEN = {
    "boxes of another row count": ("detection_boxes", np.zeros((3, 4, 4), np.float32)),
    "boxes without corners": ("detection_boxes", np.zeros((2, 4), np.float32)),
    "boxes of five": ("detection_boxes", np.zeros((2, 4, 5), np.float32)),
    "boxes scalar": ("detection_boxes", np.zeros((), np.float32)),
    "scores alone differ": ("detection_scores", np.zeros((2, 5), np.float32)),
    "classes alone differ": ("detection_classes", np.zeros((2, 5), np.float32)),
    "scores of rank 1": ("detection_scores", np.zeros(2, np.float32)),
    "classes are strings": ("detection_classes", np.full((2, 4), b"cat", object)),
    "count of two a row": ("num_detections", np.zeros((2, 2), np.float32)),
    "count of another row count": ("num_detections", np.zeros(3, np.float32)),
    "count is scalar": ("num_detections", np.zeros((), np.float32)),
}


@pytest.mark.parametrize("case", MISSHAPEN)
def test_a_misshapen_reply_is_refused_whole(case: str) -> None:
    """Arrays that do not agree cannot be given to frames: no guess, an error that names shapes."""
    alias, array = MISSHAPEN[case]
    reply = _reply(2, 4) | {"num_detections": np.full(2, 4, np.float32)} | {alias: array}
    with pytest.raises(MisshapenReplyError):
        read_answers(COUNTED, reply, 2, READING)
    del reply[alias]
    with pytest.raises(MisshapenReplyError, match=f"no output '{alias}'"):
        read_answers(COUNTED, reply, 2, READING)


def test_classes_come_best_first_above_the_least_score() -> None:
    """A classifier's scores become named classes; equal ones keep the class order, NaN is none."""
    layout = _layout(OutputKind.CLASSES, "scores")
    scores = np.array([[0.1, 0.4, np.nan, 0.4, 0.9, np.inf], [0, 0, 0, 0, 0, 0]], np.float32)
    first, second = read_answers(layout, {"scores": scores}, 2, READING)
    assert [(c.label, c.class_id) for c in first.classes or ()] == [("class-4", 4), ("person", 1), ("car", 3)]
    assert second.classes == []
    wide = np.full((1, 50), 0.5, np.float32)
    assert len(read_answers(layout, {"scores": wide}, 1, READING)[0].classes or ()) == 5
    with pytest.raises(MisshapenReplyError, match="not numbers"):
        read_answers(layout, {"scores": np.full((1, 2), b"x", object)}, 1, READING)


@pytest.mark.parametrize(
    ("array", "first"),
    [
        (np.arange(6, dtype=np.int64).reshape(2, 3), [0, 1, 2]),
        (np.array([1.5, 2.5]), 1.5),
        (np.array([b"cat", b"\xff"], object), "cat"),
        (np.array([[b"cat"], [b"dog"]], object), ["cat"]),
        (np.zeros((2, 0), np.float32), []),
        (np.array([True, False]), True),
        (np.array([1, 2], np.float16), 1.0),
        (np.array([2**64 - 1, 0], np.uint64), 2**64 - 1),
    ],
)
def test_other_outputs_are_nested_lists_that_json_holds(array: Array, first: object) -> None:
    """Any model's arrays, text among them, become one value a frame."""
    layout = _layout(OutputKind.ARRAYS, "x")
    answers = read_answers(layout, {"x": array, "unasked": np.zeros(1)}, 2, READING)
    assert answers[0].outputs == {"x": first}
    assert all(orjson.dumps(answer.outputs) for answer in answers)


def test_labels_are_never_guessed() -> None:
    """An id that no label map names is named by its number."""
    assert [name_of(NAMES, k) for k in (0, 1, 2, 99)] == ["class-0", "person", "class-2", "class-99"]
