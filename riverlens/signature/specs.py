"""Tensors and signatures in our own words, and the error of a model that cannot be fed or read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from riverlens.errors import RiverlensError

INFO_SIGNATURE = "riverlens_info"
DEFAULT_SIGNATURE = "serving_default"

Shape = tuple[int | None, ...]

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
WHOLE = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"})


class LayoutError(RiverlensError):
    """This model cannot be fed or read as it is; names the setting that helps."""


class UnfitError(LayoutError):
    """It takes images, but what settings or `riverlens_info` say of it, or its outputs, do not fit."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a signature: dtype in NumPy's words or `string`; None for an unknown rank or size."""

    dtype: str
    shape: Shape | None

    @property
    def rank(self) -> int | None:
        """Number of dimensions, or None where it is not told."""
        return None if self.shape is None else len(self.shape)

    @property
    def readable(self) -> bool:
        """Whether an event can hold its values: numbers, truth values or text, not complex or quantised."""
        return self.dtype in FLOATS | WHOLE | {"bool", "string"}

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
        return tensors_text(self.inputs)


def tensors_text(tensors: Mapping[str, TensorSpec]) -> str:
    """For a person: every tensor with its type and shape, by alias."""
    return ", ".join(f"{alias} {spec.text()}" for alias, spec in sorted(tensors.items())) or "nothing"
