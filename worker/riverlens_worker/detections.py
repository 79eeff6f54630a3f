"""From a reply's tensors to what each frame's event says. Pure.

Every array has one row a frame, in the order of the request. A reply whose leading dimension differs
from the request's cannot be given to frames and is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from riverlens.event import Classification, Detection
from riverlens.signature import Layout, OutputKind
from riverlens_worker.messages import Answer

Arrays = Mapping[str, NDArray[np.generic]]


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


def read_answers(layout: Layout, arrays: Arrays, rows: int, reading: Reading) -> list[Answer]:
    """One answer a row.

    Args:
        layout: which outputs there are and what they mean.
        arrays: the reply's tensors by alias.
        rows: rows of the request.
        reading: labels and limits.

    Raises:
        MisshapenReplyError: an output is missing, or its leading dimension is not `rows`.
    """
    for alias in layout.outputs:
        if alias not in arrays:
            raise MisshapenReplyError(f"the reply has no output {alias!r}")
        array = arrays[alias]
        if array.ndim == 0 or array.shape[0] != rows:
            raise MisshapenReplyError(f"output {alias!r} has shape {array.shape} for {rows} frames")
    if layout.output_kind is OutputKind.DETECTIONS:
        return _detections(arrays, rows, reading)
    if layout.output_kind is OutputKind.CLASSES:
        return [_classes(scores, reading) for scores in _numbers(arrays, layout.outputs[0])]
    return [
        Answer(outputs={alias: _plain(arrays[alias][row, ...]) for alias in layout.outputs})
        for row in range(rows)
    ]


def _detections(arrays: Arrays, rows: int, reading: Reading) -> list[Answer]:
    boxes = _numbers(arrays, "detection_boxes")
    scores = _numbers(arrays, "detection_scores")
    classes = _numbers(arrays, "detection_classes")
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not scores.shape == boxes.shape[:2] == classes.shape:  # noqa: PLR2004  # [N, K, 4]
        raise MisshapenReplyError(f"boxes {boxes.shape}, scores {scores.shape}, classes {classes.shape}")
    counts = np.full(rows, scores.shape[1])
    if "num_detections" in arrays:
        told = _numbers(arrays, "num_detections")
        if told.size != rows:
            raise MisshapenReplyError(f"num_detections {told.shape} for {rows} frames")
        counts = np.clip(np.nan_to_num(told.reshape(rows)), 0, scores.shape[1]).astype(np.int64)
    kept = (scores >= reading.min_score) & (np.arange(scores.shape[1]) < counts[:, None])
    # What is no number is no finding: JSON could not hold it.
    kept &= np.isfinite(boxes).all(axis=2) & np.isfinite(scores) & np.isfinite(classes)
    # [ymin, xmin, ymax, xmax] -> (x1, y1, x2, y2), inside the image, corners in order.
    corners = np.clip(boxes[:, :, [1, 0, 3, 2]], 0, 1)
    corners[:, :, 2:] = np.maximum(corners[:, :, :2], corners[:, :, 2:])
    return [
        Answer(detections=_row(corners[row], scores[row], classes[row], kept[row], reading))
        for row in range(rows)
    ]


def _numbers(arrays: Arrays, alias: str) -> NDArray[np.float32]:
    try:
        return np.asarray(arrays[alias], np.float32)
    except (TypeError, ValueError):
        raise MisshapenReplyError(f"output {alias!r} holds {arrays[alias].dtype}, not numbers") from None


def _row(
    corners: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.float32],
    kept: NDArray[np.bool_],
    reading: Reading,
) -> Sequence[Detection]:
    chosen = np.flatnonzero(kept)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][: reading.max_detections]
    found = []
    for box, score, number in zip(
        corners[chosen].tolist(), scores[chosen].tolist(), classes[chosen].tolist(), strict=True
    ):
        class_id = int(number)
        label = name_of(reading.labels, class_id)
        found.append(Detection(label, class_id, score, (box[0], box[1], box[2], box[3])))
    return found


def _classes(scores: NDArray[np.float32], reading: Reading) -> Answer:
    values = scores.reshape(-1)
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
