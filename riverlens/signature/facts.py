"""What a model's metadata cannot say: by its signature `riverlens_info`, or by settings. Pure.

Keys of the JSON in `riverlens_info`, each the name of a field here: `kind`, `labels` (id -> name),
`input_size` ([height, width]), `colour`, `range` ([low, high]), `mean`, `std`, `resize`, `boxes`, `scores`.
A key is left out where nobody knows. Settings have the same names, but for `output_kind`, `input_range`,
`input_mean` and `input_std`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

KINDS = ("detection", "classification", "arrays")
COLOURS = ("rgb", "bgr")
RESIZES = ("stretch", "letterbox")
Boxes = Literal[
    "normalised_yxyx",
    "normalised_xyxy",
    "normalised_cxcywh",
    "normalised_cycxhw",
    "pixels_yxyx",
    "pixels_xyxy",
    "pixels_cxcywh",
    "pixels_cycxhw",
]
"""Unit (fractions, or pixels, of what the model was fed) and order: corners, or centre and size."""
BOXES: tuple[Boxes, ...] = get_args(Boxes)
SCORES = ("probabilities", "logits")

_WORDS = {"kind": KINDS, "colour": COLOURS, "resize": RESIZES, "boxes": BOXES, "scores": SCORES}
_NUMBERS = {"input_size": 2, "range": 2, "mean": 3, "std": 3}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """All of it; None, or empty, where nobody says.

    Attributes:
        labels: class names by id.
        input_size: height and width in pixels that a caller scales to, where the signature fixes none.
        range: what black and full brightness become.
        mean, std: subtracted and divided by after that, a channel each in the model's colour order.
        nms_iou: boxes of one class that overlap more are one object; None: the model has seen to it.
        unknown: what `riverlens_info` says and this version does not understand, for a warning.
    """

    kind: str | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    colour: str | None = None
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: str | None = None
    boxes: str | None = None
    scores: str | None = None
    nms_iou: float | None = None
    unknown: tuple[str, ...] = ()

    def over(self, other: ModelFacts) -> ModelFacts:
        """These facts, and the other's where these say nothing."""
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(other, **{name: value for name, value in mine.items() if value not in (None, {}, ())})


def read_facts(text: bytes | str) -> ModelFacts:
    """The JSON of `riverlens_info`. Never raises: what cannot be understood stands in `unknown`."""
    try:
        body = json.loads(text)
    except ValueError:
        return ModelFacts(unknown=("no JSON",))
    if not isinstance(body, Mapping):
        return ModelFacts(unknown=("no JSON object",))
    told: dict[str, Any] = {}
    unknown = []
    for name, value in body.items():
        read = _read(name, value)
        if read is not None:
            told[name] = read
        elif name in _WORDS or name in _NUMBERS or name == "labels":
            unknown.append(f"{name} {json.dumps(value)[:60]}")
    return ModelFacts(**told, unknown=tuple(unknown))


def _read(name: str, value: Any) -> Any:
    """One key's value; None where it is not understood."""
    if name in _WORDS:
        return value if value in _WORDS[name] else None
    if name == "labels":
        return _labels(value)
    return _numbers(name, value) if name in _NUMBERS else None


def _numbers(name: str, value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, list) or len(value) != _NUMBERS[name]:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value):
        return None
    if (name == "range" and value[0] == value[1]) or (name == "std" and not all(value)):
        return None
    if name == "input_size":
        return (int(value[0]), int(value[1])) if min(value) >= 1 else None
    return tuple(float(each) for each in value)


def _labels(value: Any) -> Mapping[int, str] | None:
    try:
        return {int(number): str(name) for number, name in dict(value).items()}
    except (TypeError, ValueError):
        return None


def parse_range(text: str) -> tuple[float, float]:
    """`-1..1`.

    Raises:
        ValueError: another form, or an empty range.
    """
    low, dots, high = text.partition("..")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = 0.0, 0.0
    if not dots or bounds[0] == bounds[1]:
        raise ValueError(f"{text!r} is not a range such as 0..1, -1..1 or 0..255")
    return bounds


def parse_channels(text: str, *, divisors: bool = False) -> tuple[float, ...]:
    """`123.7,116.8,103.9`.

    Raises:
        ValueError: not three numbers; or, of divisors, one that is 0.
    """
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:  # noqa: PLR2004  # channels
        raise ValueError(f"{text!r} is not three numbers such as 123.7,116.8,103.9")
    if divisors and not all(values):
        raise ValueError(f"{text!r}: pixels are divided by it, so none may be 0")
    return values
