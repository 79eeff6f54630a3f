"""Predict's JSON to arrays: `instances` (rows) and `inputs` (columns), by a signature's dtypes.

numpy reads what is regular; only what it cannot read, or may read otherwise than TensorFlow Serving, is
walked value by value, which also finds the words for what is wrong. Texts: json_tensor.cc.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from riverlens_serving.json_text import quoted, type_name, wrong
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array

_B64 = "b64"
_MAX_RANK = 63
"""numpy has 64 dimensions, and rows take one."""


@dataclass(frozen=True, slots=True)
class _Integers:
    """Which JSON integers a dtype takes. Small types take any int32 and keep its low bits, as C++ does."""

    lowest: int
    highest: int


_INT32 = _Integers(-(2**31), 2**31 - 1)
_INTEGERS = {
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: _Integers(-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: _Integers(0, 2**32 - 1),
    types_pb2.DT_UINT64: _Integers(0, 2**64 - 1),
}
_FLOATS = frozenset({types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE})


def _name(data_type: int) -> str:
    dtype = tf.dtypes.as_dtype(data_type)
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, str(dtype.name))


def _array_type(data_type: int) -> np.dtype[Any]:
    array_type: np.dtype[Any] = np.dtype(tf.dtypes.as_dtype(data_type).as_numpy_dtype)
    return array_type


def is_b64(value: Any) -> bool:
    """Whether a value is `{"b64": "<text>"}` and nothing else."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64), str)


def decode_b64(value: Any) -> bytes:
    """The bytes of such an object. Padding may be left out, blanks are skipped.

    Raises:
        ServingError: INVALID_ARGUMENT, no such object, or no base64.
    """
    if not is_b64(value):
        raise wrong(value, "not formatted correctly for base64 data")
    text: str = value[_B64]
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        stripped = "".join(text.split())
    try:
        padding = "" if "=" in stripped else "=" * (-len(stripped) % 4)
        return binascii.a2b_base64(stripped + padding, strict_mode=True)
    except ValueError as error:
        raise invalid("Unable to base64 decode") from error


def _leaf(value: Any, data_type: int) -> Any:
    """One value, checked.

    Raises:
        ServingError: INVALID_ARGUMENT, another type; UNIMPLEMENTED, a dtype that JSON does not carry.
    """
    if isinstance(value, dict) and data_type == types_pb2.DT_STRING:
        return decode_b64(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    integers = _INTEGERS.get(data_type)
    if isinstance(value, dict):
        fits = False
    elif data_type == types_pb2.DT_STRING:
        fits = isinstance(value, str)
    elif data_type == types_pb2.DT_BOOL:
        fits = isinstance(value, bool)
    elif data_type in _FLOATS:
        fits = is_number
    elif integers is not None:
        fits = is_number and isinstance(value, int) and integers.lowest <= value <= integers.highest
    else:
        raise ServingError(
            Code.UNIMPLEMENTED, f"Conversion of JSON Value: {quoted(value)} to type: {_name(data_type)}"
        )
    if not fits:
        raise wrong(value, f"Type: {type_name(value)} is not of expected type: {_name(data_type)}")
    return value.encode() if isinstance(value, str) else value


def _dense_shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _walk(value: Any, shape: Sequence[int], level: int, data_type: int, found: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise wrong(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}",
            )
        found.append(_leaf(value, data_type))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size:"
            f" {shape[level]}"
        )
    for item in value:
        _walk(item, shape, level + 1, data_type, found)


def _walked(value: Any, data_type: int) -> tuple[list[int], list[Any]]:
    shape = _dense_shape(value)
    if len(shape) > _MAX_RANK:
        raise invalid(f"Encountered list at unexpected level: {_MAX_RANK} expected < {_MAX_RANK}")
    found: list[Any] = []
    _walk(value, shape, 0, data_type, found)
    return shape, found


def _made(shape: Sequence[int], values: list[Any], data_type: int) -> Array:
    if data_type == types_pb2.DT_STRING:
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings.reshape(shape)
    integers = _INTEGERS.get(data_type)
    if integers is None:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(_array_type(data_type)).reshape(shape)
    wide = np.uint64 if integers.highest > 2**63 else np.int64
    return np.array(values, wide).astype(_array_type(data_type)).reshape(shape)


def _quickly(value: Any, data_type: int, *, has_booleans: bool) -> Array | None:
    """The array where numpy reads the value as TensorFlow Serving does, else None."""
    integers = _INTEGERS.get(data_type)
    # numpy takes true for 1 among numbers.
    if has_booleans or (integers is None and data_type not in _FLOATS):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        return None
    if array.size == 0 or array.dtype.kind not in ("iu" if integers else "iuf"):
        return None
    if integers and not (integers.lowest <= int(array.min()) and int(array.max()) <= integers.highest):
        return None
    with np.errstate(over="ignore"):
        return array.astype(_array_type(data_type))


def _whole(value: Any, data_type: int, *, has_booleans: bool) -> Array:
    quick = _quickly(value, data_type, has_booleans=has_booleans)
    return quick if quick is not None else _made(*_walked(value, data_type), data_type)


def from_columns(value: Any, types: Mapping[str, int], *, has_booleans: bool) -> dict[str, Array]:
    """The arrays by alias of `inputs`: one value for the only input, or an object of them.

    Raises:
        ServingError: what is wrong with the values.
    """
    if not isinstance(value, dict) or is_b64(value):
        if len(types) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as"
                " per tensorinfo_map"
            )
        ((alias, data_type),) = types.items()
        return {alias: _whole(value, data_type, has_booleans=has_booleans)}
    arrays = {}
    for alias, data_type in types.items():
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        arrays[alias] = _whole(value[alias], data_type, has_booleans=has_booleans)
    return arrays


def from_rows(rows: list[Any], types: Mapping[str, int], *, has_booleans: bool) -> dict[str, Array]:
    """The arrays by alias of `instances`: a value each for the only input, or an object each.

    Raises:
        ServingError: what is wrong with which row.
    """
    if not isinstance(rows[0], dict) and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as"
            " per tensorinfo_map"
        )
    if not _is_object(rows[0]):
        alias, data_type = next(iter(types.items()))
        quick = _quickly(rows, data_type, has_booleans=has_booleans)
        if quick is not None:
            return {alias: quick}
    elif all(isinstance(row, dict) and row.keys() == types.keys() for row in rows):
        columns = {
            alias: _quickly([row[alias] for row in rows], data_type, has_booleans=has_booleans)
            for alias, data_type in types.items()
        }
        arrays = {alias: column for alias, column in columns.items() if column is not None}
        if len(arrays) == len(types):
            return arrays
    return _row_by_row(rows, types)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_b64(value)


def _row_by_row(rows: list[Any], types: Mapping[str, int]) -> dict[str, Array]:
    as_objects = _is_object(rows[0])
    only = next(iter(types))
    shapes: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        if _is_object(row) != as_objects:
            expected = "object but got list" if as_objects else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {number} of input list")
        for alias, item in row.items() if as_objects else ((only, row),):
            try:
                _add_item(item, alias, types, shapes, values)
            except ServingError as error:
                key = f" key: {alias}" if as_objects else ""
                raise invalid(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
                ) from error
        if as_objects and row.keys() != types.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {quoted(row)} keys"
                f" must be equal to: {','.join(sorted(types))}"
            )
    return {alias: _made([len(rows), *shapes[alias]], values[alias], types[alias]) for alias in shapes}


def _add_item(
    item: Any,
    alias: str,
    types: Mapping[str, int],
    shapes: dict[str, list[int]],
    values: dict[str, list[Any]],
) -> None:
    if alias not in types:
        raise invalid(f"JSON object: does not have named input: {alias}")
    shape, found = _walked(item, types[alias])
    first = shapes.setdefault(alias, shape)
    size = int(np.prod(first))
    if len(found) != size:
        raise invalid(f"Expecting tensor size: {size} but got: {len(found)}")
    if first != shape:
        shown = (",".join(map(str, sizes)) for sizes in (first, shape))
        raise invalid("Expecting shape [{}] but got: [{}]".format(*shown))
    values.setdefault(alias, []).extend(found)
