"""What `riverlens_info` says of a model, and what can be told from its signature. Pure.

The keys are those of `riverlens.signature.facts`. They describe the served signature: what whoever calls it
has to send. A key is left out where nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from riverlens.errors import SettingsError
from riverlens.signature.inputs import channels_of
from riverlens.signature.specs import DEFAULT_SIGNATURE, FLOATS, INFO_SIGNATURE, WHOLE, TensorSpec
from riverlens_serving.export.plan import ExportPlan, Front

DETECTION_OUTPUTS = frozenset({"detection_boxes", "detection_classes", "detection_scores"})

_TABLE_RANK = 2


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An input that takes decoded images.

    Attributes:
        rows: the fixed number of images a call, or None.
        height, width: fixed size in pixels, or None where any goes.
        planar: channels come first, [N,3,H,W].
        gray: there is one channel, the brightness.
    """

    dtype: str
    rows: int | None
    height: int | None
    width: int | None
    planar: bool
    gray: bool = False

    @property
    def whole(self) -> bool:
        """Whether pixels are whole numbers that can be 0 to 255: what they are, unless somebody tells."""
        return self.dtype in WHOLE - {"int8"}

    def shape(self, rows: int, height: int, width: int) -> list[int]:
        """The shape of `rows` images of a size in pixels."""
        channels = 1 if self.gray else 3
        return [rows, channels, height, width] if self.planar else [rows, height, width, channels]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width where both are fixed."""
        return None if self.height is None or self.width is None else (self.height, self.width)


def image_input(tensor: TensorSpec) -> ImageInput | None:
    """How images are laid out in `tensor`; None where it takes none. A rank that is unknown is [N,H,W,3]."""
    if tensor.dtype in {"string", "bool"}:
        return None
    channels = channels_of(tensor.shape)
    if channels is None:
        return None
    rows, *sizes = tensor.shape or (None,) * 4
    height, width = sizes[1:] if channels.planar else sizes[:2]
    return ImageInput(tensor.dtype, rows, height, width, planar=channels.planar, gray=channels.gray)


def kind_of(outputs: Mapping[str, TensorSpec], *, has_labels: bool) -> str:
    """What the outputs are: a detector by its names, a classifier by one [N,K] where classes have names."""
    if outputs.keys() >= DETECTION_OUTPUTS:
        return "detection"
    if len(outputs) == 1 and has_labels:
        (only,) = outputs.values()
        if only.shape is not None and len(only.shape) == _TABLE_RANK and only.dtype in FLOATS:
            return "classification"
    return "arrays"


def facts(plan: ExportPlan, image: ImageInput | None, outputs: Mapping[str, TensorSpec]) -> dict[str, object]:
    """The JSON of `riverlens_info`. `image` is the model's own input, None where that takes strings."""
    pixels, told = plan.pixels, plan.told
    kind = told.kind or kind_of(outputs, has_labels=bool(told.labels))
    said: dict[str, object | None] = {
        "kind": kind,
        "labels": {str(number): name for number, name in sorted(told.labels.items())} or None,
        "input_size": _list(pixels.size or (image.size if image else None)),
        "scores": told.scores,
        "boxes": (told.boxes or "normalised_yxyx") if kind == "detection" else None,
    }
    if plan.front is not None:
        # The graph does the rest: a caller sends what cameras give.
        bounds = {Front.UINT8: [0, 255], Front.FLOAT32: [0, 1], Front.ENCODED: None}[plan.front]
        said |= {"colour": "rgb", "range": bounds, "resize": "stretch"}
    else:
        whole = image is not None and image.whole
        said |= {
            "colour": None if image is not None and image.gray else pixels.colour or "rgb",
            "range": _list(pixels.value_range or ((0, 255) if whole else None)),
            "resize": told.resize or "stretch",
            "mean": _list(pixels.mean),
            "std": _list(pixels.std),
        }
    return {key: value for key, value in said.items() if value is not None}


def _list(values: Sequence[float] | None) -> list[float] | None:
    """JSON's form; whole numbers as such."""
    return [int(value) if value == int(value) else value for value in values] if values else None


def choose_signature(wanted: str | None, names: Sequence[str]) -> str:
    """The signature that is meant: `wanted`, else `serving_default`, else the only one.

    Raises:
        SettingsError: it is absent, or several could be meant.
    """
    usable = [name for name in names if not name.startswith("__") and name != INFO_SIGNATURE]
    listed = ", ".join(sorted(usable)) or "none"
    if wanted is not None:
        if wanted not in usable:
            raise SettingsError(f"--signature: the model has no signature {wanted!r}; it has {listed}")
        return wanted
    if DEFAULT_SIGNATURE in usable:
        return DEFAULT_SIGNATURE
    if len(usable) == 1:
        return usable[0]
    raise SettingsError(f"the model has {listed} for signatures; name one with --signature")
