"""How one signature's input is fed: encoded bytes or pixels, and how pixels become its numbers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from riverlens.signature.facts import ModelFacts
from riverlens.signature.specs import FLOATS, LayoutError, Shape, TensorSpec, UnfitError

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
        gray: one channel, the brightness; no mean and no std then, as `low` and `high` say all.
    """

    letterbox: bool = False
    bgr: bool = False
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    planar: bool = False
    gray: bool = False

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
        words = [f"{self.low:g}..{self.high:g}", self._colour()]
        words += [f"minus {_listed(self.mean)}"] if self.mean else []
        words += [f"over {_listed(self.std)}"] if self.std else []
        words += ["channels first"] if self.planar else []
        return " ".join([*words, "letterbox"] if self.letterbox else words)

    def _colour(self) -> str:
        if self.gray:
            return "gray"
        return "bgr" if self.bgr else "rgb"


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
        sure: the metadata shows images; else only the test image can tell.
    """

    kind: InputKind
    rows: int | None
    height: int | None = None
    width: int | None = None
    rule: PixelRule = PixelRule()
    warnings: tuple[str, ...] = ()
    sure: bool = True


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
    known = detector and alias == _OBJECT_DETECTION_ALIAS
    what = f"{name}'s {alias} {tensor.text()}"
    channels = channels_of(shape) if tensor.dtype in FLOATS | _INTEGERS else None
    if channels is None:
        raise LayoutError(
            f"{name} takes {alias} {tensor.text()}; an image is string [-1], or uint8, an integer or float"
            " [-1,H,W,3] or [-1,3,H,W], in gray [-1,H,W,1] or [-1,1,H,W]"
        )
    return _pixels(what, tensor, facts, channels, known=known)


class Channels(NamedTuple):
    """Where the channels of a tensor of images stand.

    Attributes:
        planar: first, before height and width; else last.
        gray: there is one; else three.
    """

    planar: bool
    gray: bool


def channels_of(shape: Shape | None) -> Channels | None:
    """How a tensor holds images; None where it holds none. An unknown rank is [N,H,W,3], perhaps."""
    if shape is None:
        return Channels(planar=False, gray=False)
    if len(shape) != _IMAGE_RANK:
        return None
    first, last = shape[1], shape[3]
    if _CHANNELS in {first, last}:
        return Channels(planar=last != _CHANNELS, gray=False)
    if last is None:
        return Channels(planar=False, gray=False)
    return Channels(planar=last != 1, gray=True) if 1 in {first, last} else None


def _pixels(
    what: str, tensor: TensorSpec, facts: ModelFacts, channels: Channels, *, known: bool
) -> InputLayout:
    shape, dtype = tensor.shape or (None,) * _IMAGE_RANK, tensor.dtype
    height, width = shape[2:] if channels.planar else shape[1:3]
    letterbox = facts.resize == "letterbox"
    if letterbox and (height is None or width is None):
        # Only then does somebody else's size say what to send: graphs that take any size resize inside.
        if facts.input_size is None:
            raise UnfitError(f"resize: letterbox needs a size, and {what} takes any; see input_size")
        height, width = height or facts.input_size[0], width or facts.input_size[1]
    low, high = facts.range or _default_range(dtype, known=known)
    if dtype in _INTEGERS and ((low, high) != _BYTES or facts.mean or facts.std):
        raise UnfitError(f"input_range: {what} takes whole numbers 0..255; no other range, mean or std fits")
    if channels.gray and (facts.mean or facts.std):
        raise UnfitError(f"input_mean: {what} has one channel; say what it takes with input_range alone")
    bgr = facts.colour == "bgr" and not channels.gray
    mean, std = facts.mean or (), facts.std or ()
    rule = PixelRule(letterbox, bgr, low, high, mean, std, planar=channels.planar, gray=channels.gray)
    warnings = []
    if dtype in FLOATS and facts.range is None and not known:
        warnings = [f"{what} is fed {low:g}..{high:g}, as the model does not say otherwise: see input_range"]
    if tensor.shape is None:
        warnings.append(f"{what} is fed [N,H,W,3], as the model tells no shape: see signature")
    return InputLayout(
        InputKind.PIXELS, shape[0], height, width, rule, tuple(warnings), sure=tensor.shape is not None
    )


def _default_range(dtype: str, *, known: bool) -> tuple[float, float]:
    """`known`: exported by the Object Detection API, whose float form takes 0..255 as its uint8 form does."""
    return _BYTES if known or dtype in _INTEGERS else (0.0, 1.0)
