"""TensorProto to numpy and back, with `Tensor::FromProto`'s tolerance and `Tensor::AsProtoField`'s layout.

`tf.make_ndarray` is stricter than the server on the way in and slow on the way out, so both ways are written
here after TensorFlow's core/framework/tensor.cc: a typed list shorter than the shape repeats its last value,
an empty one means zeros, a longer one is cut, and `tensor_content` must fit exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from riverlens_serving import wire

Array = npt.NDArray[Any]

_MAX_ELEMENTS = 2**31
"""A shape beyond this is refused before memory is asked for; a message could not carry its content."""
_MAX_RANK = 64
"""numpy's. TensorFlow's is 254, which no image or table comes near."""

_DTYPE, _SHAPE, _CONTENT, _STRING_VAL = 1, 2, 4, 8
"""Field numbers of TensorProto."""


class TensorParseError(ValueError):
    """The TensorProto does not describe a tensor (TensorFlow Serving: `tensor parsing error: <alias>`)."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one DataType travels: the typed field, its elements on the wire, and the array they make."""

    field: str
    field_number: int
    wire_dtype: np.dtype[Any]
    """Element type of the typed field: float32, int32, ..."""
    cast_dtype: np.dtype[Any]
    """What each element is narrowed to, as C++ does: int_val holds uint8, half_val holds 16 raw bits."""
    array_dtype: np.dtype[Any]
    """The bits of `cast_dtype` seen as the tensor's own type."""


def _kind(data_type: int, field: str, number: int, wire: Any, cast: Any = None) -> tuple[int, _Kind]:
    array = np.dtype(tf.dtypes.as_dtype(data_type).as_numpy_dtype)
    return data_type, _Kind(field, number, np.dtype(wire), np.dtype(wire if cast is None else cast), array)


_KINDS = dict(
    (
        _kind(types_pb2.DT_FLOAT, "float_val", 5, np.float32),
        _kind(types_pb2.DT_DOUBLE, "double_val", 6, np.float64),
        _kind(types_pb2.DT_INT32, "int_val", 7, np.int32),
        _kind(types_pb2.DT_UINT8, "int_val", 7, np.int32, np.uint8),
        _kind(types_pb2.DT_INT16, "int_val", 7, np.int32, np.int16),
        _kind(types_pb2.DT_INT8, "int_val", 7, np.int32, np.int8),
        _kind(types_pb2.DT_UINT16, "int_val", 7, np.int32, np.uint16),
        _kind(types_pb2.DT_QINT8, "int_val", 7, np.int32, np.int8),
        _kind(types_pb2.DT_QUINT8, "int_val", 7, np.int32, np.uint8),
        _kind(types_pb2.DT_QINT16, "int_val", 7, np.int32, np.int16),
        _kind(types_pb2.DT_QUINT16, "int_val", 7, np.int32, np.uint16),
        _kind(types_pb2.DT_QINT32, "int_val", 7, np.int32),
        _kind(types_pb2.DT_COMPLEX64, "scomplex_val", 9, np.float32),
        _kind(types_pb2.DT_INT64, "int64_val", 10, np.int64),
        _kind(types_pb2.DT_BOOL, "bool_val", 11, np.bool_),
        _kind(types_pb2.DT_COMPLEX128, "dcomplex_val", 12, np.float64),
        _kind(types_pb2.DT_HALF, "half_val", 13, np.int32, np.uint16),
        _kind(types_pb2.DT_BFLOAT16, "half_val", 13, np.int32, np.uint16),
        _kind(types_pb2.DT_UINT32, "uint32_val", 16, np.uint32),
        _kind(types_pb2.DT_UINT64, "uint64_val", 17, np.uint64),
    )
)


def decode(proto: Any) -> Array:
    """The array that a request's TensorProto describes; strings as an object array of bytes.

    Raises:
        TensorParseError: unknown dtype, negative or unknown dimension, content that does not fit the shape.
    """
    is_string = proto.dtype == types_pb2.DT_STRING
    kind = _KINDS.get(proto.dtype)
    if kind is None and not is_string:
        raise TensorParseError(f"no tensors of DataType {proto.dtype}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    # `unknown_rank` is not looked at: `TensorShape` takes the dimensions that are there.
    if len(shape) > _MAX_RANK or any(size < 0 for size in shape):
        raise TensorParseError(f"not a shape: {shape}")
    count = math.prod(shape)
    if count > _MAX_ELEMENTS:
        raise TensorParseError(f"{count} elements")
    try:
        return _decode_flat(proto, kind, count).reshape(shape)
    except (ValueError, MemoryError) as error:
        # numpy cannot hold it: too much memory, or dimensions beside a 0 that overflow.
        raise TensorParseError(str(error)) from error


def _decode_flat(proto: Any, kind: _Kind | None, count: int) -> Array:
    if kind is None:
        return _decode_strings(proto, count)
    if count and proto.tensor_content:
        return _decode_content(proto.tensor_content, kind, count)
    return _decode_values(getattr(proto, kind.field), kind, count)


def _decode_content(content: bytes, kind: _Kind, count: int) -> Array:
    if len(content) != count * kind.array_dtype.itemsize:
        raise TensorParseError(f"{len(content)} bytes for {count} elements of {kind.array_dtype}")
    if kind.array_dtype == np.bool_:
        if max(content) > 1:
            raise TensorParseError("a bool is 0 or 1")
        return np.frombuffer(content, np.bool_)
    return np.frombuffer(content, kind.array_dtype)


def _decode_values(values: Any, kind: _Kind, count: int) -> Array:
    per_element = kind.array_dtype.itemsize // kind.cast_dtype.itemsize
    wanted = count * per_element
    sent = np.array(values[:wanted] if len(values) > wanted else values, kind.wire_dtype)
    sent = sent[: sent.size - sent.size % per_element].astype(kind.cast_dtype, copy=False)
    if sent.size < wanted:
        missing = (wanted - sent.size) // per_element
        last = sent[-per_element:] if sent.size else np.zeros(per_element, kind.cast_dtype)
        filled = np.empty(wanted, kind.cast_dtype)
        filled[: sent.size] = sent
        filled[sent.size :].reshape(missing, per_element)[:] = last
        sent = filled
    viewed: Array = sent.view(kind.array_dtype)
    return viewed


def _decode_strings(proto: Any, count: int) -> Array:
    values = list(proto.string_val[:count])
    if count and proto.tensor_content:
        values = _split_string_list(proto.tensor_content, count)
    values += [values[-1] if values else b""] * (count - len(values))
    array = np.empty(count, object)
    array[:] = values
    return array


def _split_string_list(content: bytes, count: int) -> list[bytes]:
    """TensorFlow's `EncodeStringList`: all lengths as varints, then all strings, with nothing left over."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 28:  # noqa: PLR2004  # a varint32 has at most five bytes
                raise TensorParseError("string list cut short")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004  # the top bit says that more bytes follow
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorParseError("string list does not fit its lengths")
    values = []
    for length in lengths:
        values.append(content[position : position + length])
        position += length
    return values


def encode(array: Array, data_type: int, *, as_content: bool = False) -> bytes:
    """The serialized TensorProto of a result, in typed values unless `as_content`.

    `as_content` is TensorFlow Serving's `--enable_serialization_as_tensor_content` (2.19 and later).
    """
    dims = b"".join(wire.delimited(2, wire.number(1, size) if size else b"") for size in array.shape)
    head = wire.number(_DTYPE, data_type) + wire.delimited(_SHAPE, dims)
    if array.size == 0:
        return head
    if data_type == types_pb2.DT_STRING:
        strings: list[bytes] = array.reshape(-1).tolist()
        if as_content:
            lengths = b"".join(wire.varint(len(value)) for value in strings)
            return head + wire.delimited(_CONTENT, lengths + b"".join(strings))
        return head + wire.repeated(_STRING_VAL, strings)
    kind = _KINDS.get(data_type)
    if as_content or kind is None:
        return head + wire.delimited(_CONTENT, array.tobytes())
    return head + wire.delimited(kind.field_number, _packed(array, kind))


def _packed(array: Array, kind: _Kind) -> bytes:
    """Packed wire bytes: floats and bools are their own bytes, integers become varints."""
    bits = np.ascontiguousarray(array).reshape(-1).view(kind.cast_dtype)
    if kind.wire_dtype.kind in "fb":
        return bits.tobytes()
    return wire.packed_varints(bits)
