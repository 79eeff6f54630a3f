"""What an export was asked for, as frozen values. Light: importing this loads no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

PREFERRED_ROWS = (1, 2, 4, 8, 16, 24, 32)
"""Rows per call that the worker sends until it has seen others."""


class Front(StrEnum):
    """What the served signature takes, where it is not what the model itself takes."""

    UINT8 = "uint8"
    """Pixels [N,H,W,3], 0 to 255, RGB, of any size."""
    FLOAT32 = "float32"
    """Pixels [N,H,W,3], 0 to 1, RGB, of any size."""
    ENCODED = "encoded"
    """JPEG, PNG, GIF, BMP or WebP as DT_STRING [N]."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """What the model itself wants of its pixels. None: not told."""

    size: tuple[int, int] | None = None
    """Height, width."""
    colour: str | None = None
    """`rgb` or `bgr`."""
    value_range: tuple[float, float] | None = None
    """What black and full brightness become."""
    mean: tuple[float, ...] = ()
    """Taken away after the range, a channel each in the model's colour order."""
    std: tuple[float, ...] = ()
    """Divided by after that."""


@dataclass(frozen=True, slots=True)
class Told:
    """What `riverlens_info` says beyond what the signatures show. None: not told, so perhaps inferred."""

    labels: Mapping[int, str] = field(default_factory=dict)
    kind: str | None = None
    boxes: str | None = None
    resize: str | None = None
    scores: str | None = None


@dataclass(frozen=True, slots=True)
class Warmup:
    """Real images to write warm-up requests from, for each of these row counts."""

    images: tuple[Path, ...] = ()
    rows: tuple[int, ...] = PREFERRED_ROWS


@dataclass(frozen=True, slots=True)
class Tensors:
    """Which tensors of a bare graph are its inputs and outputs: (alias, tensor name). Empty: found out."""

    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """One export."""

    source: Path
    model: Path
    """The folder that holds the model's numbered versions; its name is the model's."""
    version: int | None = None
    """None: one above the highest there is."""
    checkpoint: str | None = None
    """Prefix of the checkpoint's files, where the source is a meta graph."""
    tensors: Tensors = field(default_factory=Tensors)
    signature: str | None = None
    """The signature that gets the preprocessing. None: `serving_default`, or the only one."""
    front: Front | None = None
    pixels: Pixels = field(default_factory=Pixels)
    told: Told = field(default_factory=Told)
    warmup: Warmup = field(default_factory=Warmup)

    @property
    def tells(self) -> bool:
        """Whether there is anything to say in `riverlens_info`."""
        return self.front is not None or self.told != Told() or self.pixels != Pixels()
