"""From a reply's tensors to what each frame's event says. Pure.

Every array has one row a frame, in the order of the request. A reply whose leading dimension differs
from the request's cannot be given to frames and is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from riverlens.event import Classification, Detection
from riverlens.signature import DetectionRule, Layout, OutputKind
from riverlens_worker.boxes import (
    DEFAULT_IOU,
    Table,
    columns_guessed,
    sigmoid,
    softmax,
    split_table,
    suppress,
    to_corners,
)
from riverlens_worker.geometry import Place, to_fractions
from riverlens_worker.messages import Answer

Arrays = Mapping[str, NDArray[np.generic]]
Numbers = NDArray[np.float32]

_SLACK = 1e-3
_LARGEST_FRACTION = 2.0
_SUM_SLACK = 0.05
"""Of probabilities that add up to 1: half precision rounds each of a thousand."""


def name_of(names: Mapping[int, str], class_id: int) -> str:
    """The class's name, else `class-<id>`: never a guess."""
    return names.get(class_id) or f"class-{class_id}"


class MisshapenReplyError(Exception):
    """The reply does not hold one row a frame."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How answers are read: labels by class id, the least score, the most detections."""

    labels: Mapping[int, str] = field(default_factory=dict)
    min_score: float = 0.3
    max_detections: int = 100


def needs_places(layout: Layout) -> bool:
    """Whether boxes can be read only with each image's place in what was fed."""
    rule = layout.detection
    return rule is not None and (bool(rule.in_pixels) or layout.rule.letterbox)


def read_answers(
    layout: Layout, arrays: Arrays, rows: int, reading: Reading, places: Sequence[Place] = ()
) -> list[Answer]:
    """One answer a row.

    Args:
        layout: which outputs there are and what they mean; settled.
        arrays: the reply's tensors by alias.
        rows: frames of the request.
        reading: labels and limits.
        places: each frame's place in what was fed, where `needs_places`.

    Raises:
        MisshapenReplyError: an output is missing, or its leading dimension is not that of the request.
    """
    arrays = _with_rows(layout, arrays)
    _check_rows(layout, arrays, rows)
    # A model may answer NaN or infinity: such boxes and scores are left out, without a word about the sum.
    with np.errstate(all="ignore"):
        return _read(layout, arrays, rows, reading, places)


def _read(
    layout: Layout, arrays: Arrays, rows: int, reading: Reading, places: Sequence[Place]
) -> list[Answer]:
    if layout.output_kind is OutputKind.DETECTIONS:
        return _detections(layout, arrays, rows, reading, places)
    if layout.output_kind is OutputKind.CLASSES:
        scores = _numbers(arrays, layout.outputs[0]).reshape(layout.rows or rows, -1)[:rows]
        return [_classes(each, reading) for each in (softmax(scores) if layout.logits else scores)]
    return [
        Answer(outputs={alias: _plain(arrays[alias][row, ...]) for alias in layout.outputs})
        for row in range(rows)
    ]


def _with_rows(layout: Layout, arrays: Arrays) -> Arrays:
    """The arrays with a dimension of rows each: outputs that go without it answer one row."""
    return {alias: array[None] if alias in layout.bare else array for alias, array in arrays.items()}


def _check_rows(layout: Layout, arrays: Arrays, rows: int) -> None:
    for alias in layout.outputs:
        if alias not in arrays:
            raise MisshapenReplyError(f"the reply has no output {alias!r}")
        array = arrays[alias]
        if array.ndim == 0 or array.shape[0] != (layout.rows or rows):
            raise MisshapenReplyError(f"output {alias!r} has shape {array.shape} for {rows} frames")


def settle(layout: Layout, arrays: Arrays) -> tuple[Layout, tuple[str, ...]]:
    """What nobody told, told by a first answer: once, so that all frames are read alike.

    Scores outside 0..1 are logits; boxes that reach beyond 2 are in pixels. Of a model that nobody knows,
    outputs without a row for the image are left out.

    Args:
        layout: as metadata, settings and the model's info tell it.
        arrays: the answer to a test image.

    Returns:
        The layout without open questions, and warnings of what was taken for granted.

    Raises:
        MisshapenReplyError: the arrays have no form that is read.
    """
    arrays = _with_rows(layout, arrays)
    if layout.output_kind is OutputKind.ARRAYS:
        return _with_a_row(layout, arrays)
    if layout.output_kind is OutputKind.CLASSES and layout.logits is None:
        return _classes_settled(layout, _numbers(arrays, layout.outputs[0]))
    rule = layout.detection
    if rule is None:
        return layout, ()
    table = _tell_apart(rule, arrays)
    guess = columns_guessed(table, rule.class_count) if rule.scores is None else ""
    told = (
        (f"{rule.boxes!r} is read as {guess}, as nobody tells how many classes: see labels",) if guess else ()
    )
    if None not in (rule.order, rule.in_pixels, layout.logits):
        return layout, told
    order = rule.order or table.order
    in_pixels = rule.in_pixels if rule.in_pixels is not None else table.in_pixels
    if in_pixels is None:
        in_pixels = bool(np.nan_to_num(np.abs(table.boxes)).max(initial=0) > _LARGEST_FRACTION)
    logits = _beyond(table.scores) if layout.logits is None else layout.logits
    settled = replace(layout, logits=logits, detection=replace(rule, order=order, in_pixels=in_pixels))
    if rule.order is not None and rule.in_pixels is not None:
        return settled, told
    taken = f"{'pixels' if in_pixels else 'normalised'}_{order}"
    return settled, (*told, f"boxes are taken for {taken}, as the model does not say otherwise: see boxes")


def _with_a_row(layout: Layout, arrays: Arrays) -> tuple[Layout, tuple[str, ...]]:
    """Without the outputs that hold no row for each image; all of them where none does."""
    rows = layout.rows or 1
    held = tuple(each for each in layout.outputs if each in arrays and arrays[each].shape[:1] == (rows,))
    if not held or held == layout.outputs:
        return layout, ()
    left = ", ".join(f"{each} {list(arrays[each].shape)}" for each in layout.outputs if each not in held)
    return replace(layout, outputs=held), (f"outputs without a row for each image are left out: {left}",)


def _classes_settled(layout: Layout, scores: Numbers) -> tuple[Layout, tuple[str, ...]]:
    """Logits or not; a warning where neither fits: a model of several classes at once may answer so."""
    logits = _beyond(scores)
    sums = np.nan_to_num(scores).reshape(layout.rows or 1, -1).sum(axis=1)
    several = scores.size > len(sums) and bool(np.abs(sums - 1).max(initial=0) > _SUM_SLACK)
    unsure = not logits and several
    warning = "scores are taken for probabilities, though they do not add up to 1: see scores"
    return replace(layout, logits=logits), (warning,) if unsure else ()


def _beyond(scores: Numbers) -> bool:
    finite = np.nan_to_num(scores)
    return bool(finite.min(initial=0) < -_SLACK or finite.max(initial=0) > 1 + _SLACK)


def _tell_apart(rule: DetectionRule, arrays: Arrays) -> Table:
    """Boxes, scores and classes, whichever way they are written down."""
    boxes = _numbers(arrays, rule.boxes)
    if rule.scores is None:
        table = split_table(boxes, rule.class_count) if boxes.ndim == 3 else None  # noqa: PLR2004  # [N, a, b]
        if table is None:
            raise MisshapenReplyError(f"{rule.boxes!r} has shape {boxes.shape}, no table of boxes")
        return table
    scores = _numbers(arrays, rule.scores)
    classes = None if rule.classes is None or scores.ndim == 3 else _numbers(arrays, rule.classes)  # noqa: PLR2004  # [N, K, classes]
    shapes = {scores.shape[:2], boxes.shape[:2], boxes.shape[:2] if classes is None else classes.shape}
    if boxes.ndim != 3 or boxes.shape[2] != 4 or len(shapes) > 1 or (classes is None and scores.ndim != 3):  # noqa: PLR2004  # [N, K, 4]
        told = "" if classes is None else f", classes {classes.shape}"
        raise MisshapenReplyError(f"boxes {boxes.shape}, scores {scores.shape}{told}")
    return Table(boxes, scores, classes, None, "yxyx")


def _detections(
    layout: Layout, arrays: Arrays, rows: int, reading: Reading, places: Sequence[Place]
) -> list[Answer]:
    rule = layout.detection
    assert rule is not None  # noqa: S101  # of every layout of this kind
    table = _tell_apart(rule, arrays)
    scores, classes = _best(table, logits=bool(layout.logits))
    kept = scores >= reading.min_score
    if rule.count is not None:
        counts = _counts(arrays, rule.count, scores)
        if min(counts, default=0) < scores.shape[1]:
            kept &= np.arange(scores.shape[1]) < np.array(counts)[:, None]
    # From here on only what was found: a row may have thousands of boxes, and a few that count.
    row, place = np.nonzero(kept[:rows])
    boxes, scores, classes = (each[row, place] for each in (table.boxes, scores, classes))
    # What is no number is no finding: JSON could not hold it.
    sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & np.isfinite(classes)
    if not sound.all():
        row, boxes, scores, classes = row[sound], boxes[sound], scores[sound], classes[sound]
    corners = to_corners(boxes, rule.order or table.order)
    if needs_places(layout):
        corners = to_fractions(corners, places, row, in_pixels=bool(rule.in_pixels))
    # Inside the image, corners in order.
    corners = np.clip(corners, 0, 1)
    corners[:, 2:] = np.maximum(corners[:, :2], corners[:, 2:])
    ends = pairwise(np.searchsorted(row, np.arange(rows + 1)).tolist())
    iou = rule.nms_iou or (DEFAULT_IOU if table.classes is None else None)
    if iou is not None:
        parts = ((corners[a:b], scores[a:b], classes[a:b]) for a, b in ends)
        return [Answer(detections=_suppressed(*part, reading, iou)) for part in parts]
    # All rows at once, best scores first: a row at a time, NumPy's calls cost more than their work.
    order = np.lexsort((-scores, row))
    found = _found(corners[order], scores[order], classes[order], reading)
    return [Answer(detections=found[a:b][: reading.max_detections]) for a, b in ends]


def _best(table: Table, *, logits: bool) -> tuple[Numbers, Numbers]:
    """Score and class of each box, [N,K]."""
    scores, classes = table.scores, table.classes
    if classes is None:
        classes = scores.argmax(axis=2).astype(np.float32)
        scores = scores.max(axis=2)
    if logits:
        scores = sigmoid(scores)
    if table.objectness is not None:
        scores = scores * (sigmoid(table.objectness) if logits else table.objectness)
    return scores, classes


def _counts(arrays: Arrays, alias: str, scores: Numbers) -> list[int]:
    """How many boxes of each row count; none where that is no number."""
    told = _numbers(arrays, alias)
    if told.size != scores.shape[0]:
        raise MisshapenReplyError(f"{alias} {told.shape} for {scores.shape[0]} frames")
    # In plain Python: NumPy takes longer for so few numbers. `max` with 0 first makes 0 of NaN.
    return [int(min(max(0.0, count), scores.shape[1])) for count in told.reshape(-1).tolist()]


def _numbers(arrays: Arrays, alias: str) -> Numbers:
    try:
        return np.asarray(arrays[alias], np.float32)
    except (TypeError, ValueError):
        raise MisshapenReplyError(f"output {alias!r} holds {arrays[alias].dtype}, not numbers") from None


def _suppressed(
    corners: Numbers, scores: Numbers, classes: Numbers, reading: Reading, iou: float
) -> list[Detection]:
    """One row without boxes that overlap a better one of their class."""
    best = suppress(corners, scores, classes, iou, reading.max_detections)
    return _found(corners[best], scores[best], classes[best], reading)


def _found(boxes: Numbers, scores: Numbers, classes: Numbers, reading: Reading) -> list[Detection]:
    numbers = classes.astype(np.int64).tolist()
    names = [name_of(reading.labels, number) for number in numbers]
    return list(map(Detection, names, numbers, scores.tolist(), map(tuple, boxes.tolist())))


def _classes(values: Numbers, reading: Reading) -> Answer:
    kept = np.flatnonzero((values >= reading.min_score) & np.isfinite(values))
    order = kept[np.argsort(-values[kept], kind="stable")][: reading.max_detections]
    chosen = [Classification(name_of(reading.labels, int(k)), int(k), float(values[k])) for k in order]
    return Answer(classes=chosen)


def _plain(value: NDArray[np.generic]) -> object:
    """Nested lists that JSON can hold: bytes as text."""
    if value.dtype == object or value.dtype.kind == "S":
        decoded = np.vectorize(lambda raw: bytes(raw).decode("utf-8", "replace"), otypes=[object])(value)
        return decoded.tolist()
    return value.tolist()
