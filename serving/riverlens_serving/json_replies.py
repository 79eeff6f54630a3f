"""Arrays and results to JSON, in TensorFlow Serving's forms. Compact where TensorFlow Serving indents."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from riverlens_serving.status import invalid
from riverlens_serving.tensors import Array

_BYTES_SUFFIX = "_bytes"
"""String outputs of such names are base64: JSON strings carry no arbitrary bytes."""
_WRITABLE = frozenset(map(np.dtype, ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8", "?", "O")))


def rows(outputs: Mapping[str, Array]) -> bytes:
    """`{"predictions": [...]}`: a value a row for one output, an object a row for several.

    Raises:
        ServingError: INVALID_ARGUMENT, an output without rows, unequal numbers of them, or a dtype that JSON
        does not carry.
    """
    count = None
    for alias, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if count is not None and len(array) != count:
            raise invalid(
                f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)
    values = {alias: _values(alias, array) for alias, array in outputs.items()}
    if len(values) == 1:
        return _dump({"predictions": next(iter(values.values()))})
    return _dump(
        {"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]}
    )


def columns(outputs: Mapping[str, Array]) -> bytes:
    """`{"outputs": ...}`: the only output's value, or an object of several.

    Raises:
        ServingError: INVALID_ARGUMENT, a dtype that JSON does not carry.
    """
    values = {alias: _values(alias, array) for alias, array in outputs.items()}
    return _dump({"outputs": next(iter(values.values())) if len(values) == 1 else values})


def _values(alias: str, array: Array) -> Any:
    """What the JSON writer takes: the array itself, or lists where it cannot."""
    if array.dtype not in _WRITABLE:
        name = tf.dtypes.as_dtype(array.dtype).name
        shown = {"float16": "half"}.get(name, name)
        raise invalid(f"Failed to write JSON value for tensor type: {shown}")
    if array.dtype == object:
        as_bytes = alias.endswith(_BYTES_SUFFIX)
        return _mapped(array.tolist(), as_bytes=as_bytes)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        # The fast writer turns NaN into null; these go through Python's, by their shortest digits.
        return _shortest(array)
    return np.ascontiguousarray(array)


def _mapped(value: Any, *, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_mapped(item, as_bytes=as_bytes) for item in value]
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")


def _shortest(array: Array) -> Any:
    digits = np.array([float(str(value)) for value in array.reshape(-1)], object)
    return digits.reshape(array.shape).tolist()


def _plain(value: Any) -> Any:
    """For Python's writer, which knows no numpy."""
    if isinstance(value, np.ndarray | np.generic):
        return _shortest(np.asarray(value)) if value.dtype.kind == "f" else value.tolist()
    raise TypeError(type(value))


def _holds_infinite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_holds_infinite, value.values()))
    return isinstance(value, list) and any(map(_holds_infinite, value))


def _dump(document: dict[str, Any]) -> bytes:
    if _holds_infinite(document):
        return json.dumps(document, default=_plain, ensure_ascii=False).encode()
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _score(value: float) -> float:
    """A float32 by its shortest digits, not by those of the double that carries it."""
    return float(str(np.float32(value)))


def classification(result: Any) -> bytes:
    """`{"results": [[["label", score], ...], ...]}`."""
    shown = [[[entry.label, _score(entry.score)] for entry in row.classes] for row in result.classifications]
    return _dump({"results": shown})


def regression(result: Any) -> bytes:
    """`{"results": [value, ...]}`."""
    return _dump({"results": [_score(entry.value) for entry in result.regressions]})


def error(message: str) -> bytes:
    """`{"error": "..."}`, indented as TensorFlow Serving does."""
    return json.dumps({"error": message}, indent=4, ensure_ascii=False).encode()
