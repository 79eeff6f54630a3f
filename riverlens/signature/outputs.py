"""What a signature's outputs are taken for: detections, classes or plain arrays. Pure.

Detections are told by the Object Detection API's names alone. With the kind told (`output_kind`, or the
model's own info), other forms are read too: boxes, scores and classes by other names, also EfficientDet's
`output_0..3`; boxes with a score for every class; one table with a row a box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from riverlens.signature.bare import bare_outputs, with_rows
from riverlens.signature.facts import ModelFacts
from riverlens.signature.specs import FLOATS, TensorSpec, UnfitError, tensors_text

_CORNERS = 4
_BY_NAMES = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_BY_NUMBERS = ("output_0", "output_1", "output_2", "output_3")
_WORDS = (("box",), ("score", "conf", "prob", "logit"), ("class", "label"), ("num", "valid", "count"))
"""What names of boxes, scores, classes and the count hold, where they are no exporter's."""


class OutputKind(Enum):
    """What the outputs are taken for."""

    DETECTIONS = auto()
    CLASSES = auto()
    ARRAYS = auto()


@dataclass(frozen=True, slots=True)
class DetectionRule:
    """How detections are read. What is None is told by the first answer (`settle` in the worker).

    Attributes:
        boxes: alias of the boxes [N,K,4], or of the only table [N,K,C].
        scores: alias of [N,K], or of [N,K,classes], a score for every class; None for a table.
        classes: alias of [N,K]; None for a table, or where every class has its score.
        count: alias of [N], how many of the K count; None: all.
        order: `yxyx`, `xyxy`, `cxcywh` or `cycxhw`.
        in_pixels: boxes are in pixels of what the model was fed; else fractions of it.
        nms_iou: boxes of one class that overlap more are one object; None: the model has seen to it.
        class_count: number of classes where labels tell it, to make out a table's columns.
    """

    boxes: str
    scores: str | None = None
    classes: str | None = None
    count: str | None = None
    order: str | None = "yxyx"
    in_pixels: bool | None = False
    nms_iou: float | None = None
    class_count: int | None = None

    def text(self) -> str:
        """For a person: `pixels yxyx`."""
        unit = {None: "unit unknown", True: "pixels", False: "normalised"}[self.in_pixels]
        return f"{unit} {self.order or 'order unknown'}"


@dataclass(frozen=True, slots=True)
class OutputLayout:
    """How the outputs are read.

    Attributes:
        aliases: what to ask for; nothing else is fetched.
        logits: scores are no probabilities yet; None: the first answer tells.
        detection: of detections only.
        bare: aliases of those that come without the dimension of rows.
        warnings: what is left out, and why.
    """

    kind: OutputKind
    aliases: tuple[str, ...]
    logits: bool | None = False
    detection: DetectionRule | None = None
    bare: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def is_named_detector(outputs: Mapping[str, TensorSpec]) -> bool:
    """Whether the outputs have the Object Detection API's names."""
    return set(_BY_NAMES[:3]) <= outputs.keys()


def read_outputs(
    name: str, outputs: Mapping[str, TensorSpec], facts: ModelFacts, rows: int | None = None
) -> OutputLayout:
    """The layout of signature `name`'s outputs; `rows`: of every call, where the model fixes them.

    Raises:
        UnfitError: the kind that was told does not fit them, or no event can hold them.
    """
    held = {alias: tensor for alias, tensor in outputs.items() if tensor.readable}
    left = {alias: tensor for alias, tensor in outputs.items() if alias not in held}
    if left and not held:
        raise UnfitError(
            f"signature: {name} answers {tensors_text(left)}, which no event can hold; name another one"
        )
    bare = bare_outputs(held, rows)
    told = _told(name, with_rows(held, bare), facts)
    warnings = (
        (f"{name}'s outputs {tensors_text(left)} are left out: no event can hold them",) if left else ()
    )
    return replace(told, bare=bare & set(told.aliases), warnings=warnings)


def _told(name: str, outputs: Mapping[str, TensorSpec], facts: ModelFacts) -> OutputLayout:
    if facts.kind == "arrays":
        return _arrays(outputs)
    if facts.kind == "detection" or (facts.kind is None and is_named_detector(outputs)):
        roles = _roles(outputs)
        if roles is None:
            raise UnfitError(
                f"output_kind: {name} answers {tensors_text(outputs)}: no boxes, scores and classes to tell"
                " apart; output_kind=arrays takes them as they are"
            )
        return _detections(outputs, roles, facts)
    return _classes_or_arrays(name, outputs, facts)


def _classes_or_arrays(name: str, outputs: Mapping[str, TensorSpec], facts: ModelFacts) -> OutputLayout:
    told = facts.kind == "classification"
    tables = [alias for alias, tensor in outputs.items() if _is_class_table(tensor, told=told)]
    if len(tables) == 1 and (told or (facts.labels and len(outputs) == 1)):
        return OutputLayout(OutputKind.CLASSES, (tables[0],), _logits(facts))
    if told:
        raise UnfitError(
            f"output_kind: {name} answers {tensors_text(outputs)}: not one table [N,classes] of numbers;"
            " output_kind=arrays takes them as they are"
        )
    return _arrays(outputs)


def _logits(facts: ModelFacts) -> bool | None:
    return None if facts.scores is None else facts.scores == "logits"


def _arrays(outputs: Mapping[str, TensorSpec]) -> OutputLayout:
    return OutputLayout(OutputKind.ARRAYS, tuple(sorted(outputs)))


def _is_class_table(tensor: TensorSpec, *, told: bool) -> bool:
    """[N,K], or where classes are told also [N,1,1,K], and any shape that nobody knows."""
    if tensor.dtype not in FLOATS:
        return False
    if tensor.shape is None:
        return told
    ones = all(size == 1 for size in tensor.shape[1:-1])
    return len(tensor.shape) == 2 or (told and len(tensor.shape) > 2 and ones)  # noqa: PLR2004  # [N, K]


def _roles(outputs: Mapping[str, TensorSpec]) -> tuple[str | None, ...] | None:
    """Aliases of boxes, scores, classes, count; None where they cannot be told apart."""
    for names in (_BY_NAMES, _BY_NUMBERS):
        if set(names[:3]) <= outputs.keys() and _may_be_boxes(outputs[names[0]]):
            return (*names[:3], names[3] if names[3] in outputs else None)
    boxes, scores, classes, count = (_only(outputs, words) for words in _WORDS)
    if boxes and scores and _may_be_boxes(outputs[boxes]):
        if classes and classes != scores:
            return (boxes, scores, classes, count)
        if outputs[scores].rank == 3:  # noqa: PLR2004  # [N, K, classes]
            return (boxes, scores, None, None)
    tables = [alias for alias, tensor in outputs.items() if _may_be_table(tensor)]
    if len(tables) == 1:
        return (tables[0], None, None, None)
    return None


def _may_be_boxes(tensor: TensorSpec) -> bool:
    return tensor.shape is None or (len(tensor.shape) == 3 and tensor.shape[2] in {_CORNERS, None})  # noqa: PLR2004  # [N, K, 4]


def _may_be_table(tensor: TensorSpec) -> bool:
    """[N,a,b] with room for a box, a score and a class in one of the two."""
    if tensor.shape is None:
        return True
    if len(tensor.shape) != 3 or tensor.dtype not in FLOATS:  # noqa: PLR2004  # [N, a, b]
        return False
    return any(size is None or size > _CORNERS for size in tensor.shape[1:])


def _only(outputs: Mapping[str, TensorSpec], words: tuple[str, ...]) -> str | None:
    """The one alias that holds one of the words as its own; None where none or several do."""
    others = [word for each in _WORDS if each is not words for word in each]
    holding = [alias for alias in outputs if any(word in alias.lower() for word in words)]
    sure = [alias for alias in holding if not any(word in alias.lower() for word in others)]
    found = sure or holding
    return found[0] if len(found) == 1 else None


def _detections(
    outputs: Mapping[str, TensorSpec], roles: tuple[str | None, ...], facts: ModelFacts
) -> OutputLayout:
    boxes, scores, classes, count = roles
    assert boxes is not None  # noqa: S101  # `_roles` tells boxes or nothing
    if count is not None and count in outputs and outputs[count].rank == 0:
        # One number for all rows says nothing of a row; the least score tells empty places as well.
        count = None
    unit, order = facts.boxes.split("_") if facts.boxes else (None, None)
    in_pixels = None if unit is None else unit == "pixels"
    if boxes in {_BY_NAMES[0], _BY_NUMBERS[0]} and scores is not None and facts.boxes is None:
        # Documented: the Object Detection API answers fractions, EfficientDet pixels.
        in_pixels, order = boxes == _BY_NUMBERS[0], "yxyx"
    logits = _logits(facts)
    if boxes == _BY_NAMES[0] and logits is None:
        logits = False
    count_of = max(facts.labels) + 1 if facts.labels else None
    rule = DetectionRule(boxes, scores, classes, count, order, in_pixels, facts.nms_iou, count_of)
    aliases = tuple(
        alias for alias in (boxes, scores, classes, count) if alias is not None and alias in outputs
    )
    return OutputLayout(OutputKind.DETECTIONS, aliases, logits, rule)
