"""From a model's metadata to how it is fed and read. Pure.

The server tells each signature's tensors; from them follow the input layout (encoded bytes or pixels, of
which size) and the output kind (detections, classes, arrays). What metadata cannot say (labels, value
range) our exports carry in the signature `riverlens_info`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from riverlens.errors import RiverlensError

INFO_SIGNATURE = "riverlens_info"
DEFAULT_SIGNATURE = "serving_default"
_PIXEL_TYPES = frozenset({"uint8", "float32"})
_REFUSED_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")
_IMAGE_RANK = 4
_BOXES, _SCORES, _CLASSES, _COUNT = (
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "num_detections",
)


class LayoutError(RiverlensError):
    """This model cannot be fed or read as it is; names the setting that helps."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a signature: dtype in NumPy's words or `string`; None for an unknown rank or size."""

    dtype: str
    shape: tuple[int | None, ...] | None

    def text(self) -> str:
        """For a person: `uint8 [-1,-1,-1,3]`."""
        if self.shape is None:
            return f"{self.dtype} [unknown rank]"
        return f"{self.dtype} [{','.join('-1' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class SignatureSpec:
    """One signature: tensors by alias."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = "tensorflow/serving/predict"

    def inputs_text(self) -> str:
        """For a person: every input with its type and shape."""
        return ", ".join(f"{alias} {spec.text()}" for alias, spec in sorted(self.inputs.items())) or "nothing"


class InputKind(Enum):
    """What one row of the model's input is."""

    ENCODED = auto()
    """The encoded image, as bytes."""
    PIXELS = auto()
    """Decoded pixels [H, W, 3], RGB."""


class OutputKind(Enum):
    """What the outputs are taken for."""

    DETECTIONS = auto()
    CLASSES = auto()
    ARRAYS = auto()


@dataclass(frozen=True, slots=True)
class Layout:
    """How one signature is fed and read.

    Attributes:
        alias: the input's alias.
        dtype: `string`, `uint8` or `float32` (0..1).
        height, width: fixed input size in pixels, or None where any size goes.
        single: the model takes one image a call (its leading dimension is 1).
        outputs: aliases to ask for; nothing else is fetched.
    """

    signature: str
    alias: str
    kind: InputKind
    dtype: str
    height: int | None
    width: int | None
    single: bool
    output_kind: OutputKind
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `riverlens_info` tells: class names by id and the kind of output; empty where it is absent."""

    labels: Mapping[int, str] = field(default_factory=dict)
    kind: str | None = None


def choose(
    signatures: Mapping[str, SignatureSpec],
    wanted: str | None,
    *,
    has_labels: bool,
    info_kind: str | None = None,
) -> Layout:
    """The layout of the signature to call: `wanted`, else `serving_default`, else the only one that fits.

    Raises:
        LayoutError: the wanted one is absent or cannot be fed; or none or several can. Names the setting.
    """
    usable = {name: spec for name, spec in signatures.items() if not name.startswith("__")}
    usable.pop(INFO_SIGNATURE, None)
    if wanted is not None:
        if wanted not in usable:
            names = ", ".join(sorted(usable)) or "none"
            raise LayoutError(f"signature: the model has no signature {wanted!r}; it has {names}")
        try:
            return _layout(wanted, usable[wanted], has_labels=has_labels, info_kind=info_kind)
        except LayoutError as error:
            raise LayoutError(f"signature: {error}") from None
    layouts: dict[str, Layout] = {}
    reasons: list[str] = []
    for name, spec in sorted(usable.items()):
        try:
            layouts[name] = _layout(name, spec, has_labels=has_labels, info_kind=info_kind)
        except LayoutError as error:
            reasons.append(str(error))
    if DEFAULT_SIGNATURE in layouts:
        return layouts[DEFAULT_SIGNATURE]
    if len(layouts) == 1:
        return next(iter(layouts.values()))
    if not layouts:
        why = "; ".join(reasons) or "it has none to call"
        raise LayoutError(f"model: no signature of this model takes images: {why}")
    raise LayoutError(f"signature: several take images ({', '.join(layouts)}); name one with --signature")


def _layout(name: str, spec: SignatureSpec, *, has_labels: bool, info_kind: str | None) -> Layout:
    if spec.method in _REFUSED_METHODS:
        raise LayoutError(f"{name} is a {spec.method.rsplit('/', 1)[1]} signature, which takes no images")
    if len(spec.inputs) != 1:
        raise LayoutError(f"{name} takes {len(spec.inputs)} inputs ({spec.inputs_text()}); one is needed")
    alias, tensor = next(iter(spec.inputs.items()))
    kind, height, width = _input(name, alias, tensor)
    output_kind, outputs = _outputs(spec.outputs, has_labels=has_labels, info_kind=info_kind)
    return Layout(
        signature=name,
        alias=alias,
        kind=kind,
        dtype=tensor.dtype,
        height=height,
        width=width,
        single=tensor.shape is not None and tensor.shape[:1] == (1,),
        output_kind=output_kind,
        outputs=outputs,
    )


def _input(name: str, alias: str, tensor: TensorSpec) -> tuple[InputKind, int | None, int | None]:
    shape = tensor.shape
    if tensor.dtype == "string":
        if "example" in alias:
            raise LayoutError(f"{name} takes serialised tf.Example ({alias}), not images")
        if shape is not None and len(shape) != 1:
            raise LayoutError(f"{name} takes {alias} {tensor.text()}; encoded images need string [-1]")
        _check_batch(name, shape)
        return InputKind.ENCODED, None, None
    if tensor.dtype in _PIXEL_TYPES and shape and len(shape) == _IMAGE_RANK and shape[3] in {3, None}:
        _check_batch(name, shape)
        return InputKind.PIXELS, shape[1], shape[2]
    raise LayoutError(
        f"{name} takes {alias} {tensor.text()}; an image is uint8 or float32 [-1,H,W,3] or string [-1]"
    )


def _check_batch(name: str, shape: tuple[int | None, ...] | None) -> None:
    if shape is not None and shape[0] not in {None, 1}:
        raise LayoutError(f"{name} takes batches of exactly {shape[0]}; export it with a free batch size")


def _outputs(
    outputs: Mapping[str, TensorSpec], *, has_labels: bool, info_kind: str | None
) -> tuple[OutputKind, tuple[str, ...]]:
    if {_BOXES, _SCORES, _CLASSES} <= outputs.keys():
        wanted = (_BOXES, _SCORES, _CLASSES, *((_COUNT,) if _COUNT in outputs else ()))
        return OutputKind.DETECTIONS, wanted
    if len(outputs) == 1:
        alias, tensor = next(iter(outputs.items()))
        table = tensor.shape is not None and len(tensor.shape) == 2 and tensor.dtype == "float32"  # noqa: PLR2004  # [N, K]
        if table and (has_labels or info_kind == "classification"):
            return OutputKind.CLASSES, (alias,)
    return OutputKind.ARRAYS, tuple(sorted(outputs))
