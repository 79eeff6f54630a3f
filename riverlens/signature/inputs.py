"""How one signature's input is fed: encoded bytes or pixels, and how pixels become its numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from riverlens.signature.facts import ModelFacts
from riverlens.signature.specs import LayoutError, Shape, TensorSpec

_FLOATS = frozenset({"float16", "float32", "float64"})
_INTEGERS = frozenset({"uint8", "uint16", "int16", "int32", "int64"})
_IMAGE_RANK = 4
_CHANNELS = 3
_BYTES = (0.0, 255.0)
_OBJECT_DETECTION_ALIAS = "input_tensor"


class InputKind(Enum):
    """What one row of the model's input is."""

    ENCODED = auto()
    """The encoded image, as bytes."""
    PIXELS = auto()
    """Decoded pixels."""


@dataclass(frozen=True, slots=True)
class PixelRule:
    """How decoded pixels (0 to 255, RGB, [H, W, 3]) become the model's numbers, in this order.

    Attributes:
        letterbox: scaled in the image's own proportions, centred on gray; else stretched.
        bgr: channels turned round.
        low, high: what 0 and 255 become.
        mean, std: subtracted and divided by, a channel each in the model's colour order; or empty.
        planar: channels first, [3, H, W].
    """

    letterbox: bool = False
    bgr: bool = False
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    planar: bool = False

    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Factor and summand that take 0..255 to the model's numbers, each one for all channels or three."""
        scale = (self.high - self.low) / 255
        stds = self.std or (1.0,) * len(self.mean) or (1.0,)
        means = self.mean or (0.0,) * len(stds)
        return (
            tuple(scale / std for std in stds),
            tuple((self.low - mean) / std for mean, std in zip(means, stds, strict=True)),
        )

    def text(self) -> str:
        """For a person: `0..1 rgb`."""
        words = [f"{self.low:g}..{self.high:g}", "bgr" if self.bgr else "rgb"]
        words += [f"minus {_listed(self.mean)}"] if self.mean else []
        words += [f"over {_listed(self.std)}"] if self.std else []
        words += ["channels first"] if self.planar else []
        return " ".join([*words, "letterbox"] if self.letterbox else words)


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How one input is fed.

    Attributes:
        rows: rows of every call, where the model fixes them; None: any number.
        height, width: fixed size in pixels, or None where any goes.
        rule: how pixels become numbers; of no account for encoded input.
        warnings: what was taken for granted, each naming the setting that says otherwise.
    """

    kind: InputKind
    rows: int | None
    height: int | None = None
    width: int | None = None
    rule: PixelRule = PixelRule()
    warnings: tuple[str, ...] = ()


def read_input(
    name: str, alias: str, tensor: TensorSpec, facts: ModelFacts, *, detector: bool
) -> InputLayout:
    """The layout of signature `name`'s only input. `detector`: the outputs have the OD API's names.

    Raises:
        LayoutError: it takes no images, or settings and model contradict each other.
    """
    shape = tensor.shape
    if tensor.dtype == "string":
        if "example" in alias:
            raise LayoutError(f"{name} takes serialised tf.Example ({alias}), not images")
        if shape is not None and len(shape) != 1:
            raise LayoutError(f"{name} takes {alias} {tensor.text()}; encoded images need string [-1]")
        return InputLayout(InputKind.ENCODED, shape[0] if shape else None)
    if tensor.dtype in _FLOATS | _INTEGERS and shape and len(shape) == _IMAGE_RANK:
        planar = shape[3] != _CHANNELS and shape[1] == _CHANNELS
        if planar or shape[3] in {_CHANNELS, None}:
            known = detector and alias == _OBJECT_DETECTION_ALIAS
            what = f"{name}'s {alias} {tensor.text()}"
            return _pixels(what, tensor.dtype, shape, facts, planar=planar, known=known)
    raise LayoutError(
        f"{name} takes {alias} {tensor.text()}; an image is string [-1], or uint8, an integer or float"
        " [-1,H,W,3] or [-1,3,H,W]"
    )


def _pixels(
    what: str, dtype: str, shape: Shape, facts: ModelFacts, *, planar: bool, known: bool
) -> InputLayout:
    height, width = shape[2:] if planar else shape[1:3]
    letterbox = facts.resize == "letterbox"
    if letterbox and (height is None or width is None):
        # Only then does somebody else's size say what to send: graphs that take any size resize inside.
        if facts.input_size is None:
            raise LayoutError(f"resize: letterbox needs a size, and {what} takes any; see input_size")
        height, width = height or facts.input_size[0], width or facts.input_size[1]
    low, high = facts.range or _default_range(dtype, known=known)
    if dtype in _INTEGERS and ((low, high) != _BYTES or facts.mean or facts.std):
        raise LayoutError(f"input_range: {what} takes whole numbers 0..255; no other range, mean or std fits")
    rule = PixelRule(
        letterbox, facts.colour == "bgr", low, high, facts.mean or (), facts.std or (), planar=planar
    )
    assumed = dtype in _FLOATS and facts.range is None and not known
    warning = f"{what} is fed {low:g}..{high:g}, as the model does not say otherwise: see input_range"
    return InputLayout(InputKind.PIXELS, shape[0], height, width, rule, (warning,) if assumed else ())


def _default_range(dtype: str, *, known: bool) -> tuple[float, float]:
    """`known`: exported by the Object Detection API, whose float form takes 0..255 as its uint8 form does."""
    return _BYTES if known or dtype in _INTEGERS else (0.0, 1.0)
