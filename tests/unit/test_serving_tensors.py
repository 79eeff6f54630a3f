"""Wire bytes and tensors: what is written by hand reads as protobuf and TensorFlow write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from riverlens_serving import tensors, wire
from tests.models import ECHO_TYPES

INT64 = st.integers(-(2**63), 2**63 - 1)
NUMERIC = [dtype for dtype in ECHO_TYPES if dtype != tf.string]


@given(st.lists(INT64))
def test_packed_varints_are_protobufs(values: list[int]) -> None:
    """Packed int64 bytes equal those of the generated classes, whatever the values."""
    expected = tensor_pb2.TensorProto(int64_val=values)
    packed = wire.packed_varints(np.array(values, np.int64))
    assert (wire.delimited(10, packed) if values else b"") == expected.SerializeToString()


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_packed_unsigned_varints_are_protobufs(values: list[int]) -> None:
    """Packed uint64 bytes equal those of the generated classes, up to the highest value."""
    expected = tensor_pb2.TensorProto(uint64_val=values)
    packed = wire.packed_varints(np.array(values, np.uint64))
    assert (wire.delimited(17, packed) if values else b"") == expected.SerializeToString()


@given(st.sampled_from(NUMERIC), st.binary(max_size=64), st.booleans())
def test_numbers_survive_both_ways(dtype: Any, content: bytes, as_content: bool) -> None:  # noqa: FBT001  # drawn
    """Any numeric array, NaNs and infinities included, comes back bit for bit from its TensorProto."""
    array_type = np.dtype(dtype.as_numpy_dtype)
    whole = content[: len(content) - len(content) % array_type.itemsize]
    array = np.frombuffer(whole, array_type) if array_type != np.bool_ else np.frombuffer(whole, np.uint8) > 9
    encoded = tensors.encode(array, dtype.as_datatype_enum, as_content=as_content)
    decoded = tensors.decode(tensor_pb2.TensorProto.FromString(encoded))
    assert decoded.dtype == array.dtype
    assert decoded.tobytes() == array.tobytes()


@given(st.lists(st.binary()), st.booleans())
def test_strings_survive_both_ways(values: list[bytes], as_content: bool) -> None:  # noqa: FBT001  # drawn
    """Strings come back byte for byte, trailing zeros too, as string_val and as a tensor_content list."""
    array = np.empty(len(values), object)
    array[:] = values
    encoded = tensors.encode(array, types_pb2.DT_STRING, as_content=as_content)
    assert tensors.decode(tensor_pb2.TensorProto.FromString(encoded)).tolist() == values


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_a_reply_is_read_by_tensorflow(shape: tuple[int, ...]) -> None:
    """`tf.make_ndarray` reads each encoded shape, scalar and empty ones too."""
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    proto = tensor_pb2.TensorProto.FromString(tensors.encode(array, types_pb2.DT_FLOAT))
    assert proto == _typed(array)
    if array.size:
        assert np.array_equal(tf.make_ndarray(proto), array)


def _typed(array: Any) -> Any:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=array.reshape(-1).tolist())
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize("dtype", ECHO_TYPES, ids=[dtype.name for dtype in ECHO_TYPES])
def test_short_lists_repeat_and_empty_ones_are_zeros(dtype: Any) -> None:
    """In every type, one value fills the shape, and none makes zeros (empty strings)."""
    one = tensors.encode(_ones(dtype, 1), dtype.as_datatype_enum)
    zeros = [b""] * 3 if dtype == tf.string else np.zeros(3, dtype.as_numpy_dtype).tolist()
    for stated, expected in ((one, _ones(dtype, 3).tolist()), (b"", zeros)):
        proto = tensor_pb2.TensorProto.FromString(stated)
        proto.dtype = dtype.as_datatype_enum
        proto.ClearField("tensor_shape")
        proto.tensor_shape.dim.add(size=3)
        assert tensors.decode(proto).tolist() == expected


def _ones(dtype: Any, count: int) -> Any:
    return np.array([b"1"] * count, object) if dtype == tf.string else np.ones(count, dtype.as_numpy_dtype)


def _proto(shape: tuple[int, ...], **fields: Any) -> Any:
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(_proto((1,)), id="no-dtype"),
        pytest.param(_proto((1,), dtype=types_pb2.DT_RESOURCE), id="resource"),
        pytest.param(_proto((-1,), dtype=types_pb2.DT_FLOAT), id="negative-dimension"),
        pytest.param(
            _proto((2**40,), dtype=types_pb2.DT_FLOAT, float_val=[1]), id="terabytes-from-one-value"
        ),
        pytest.param(_proto((0, 2**62, 4), dtype=types_pb2.DT_FLOAT), id="overflow-beside-a-zero"),
        pytest.param(_proto((1,) * 65, dtype=types_pb2.DT_FLOAT, float_val=[1]), id="65-dimensions"),
        pytest.param(_proto((2,), dtype=types_pb2.DT_INT32, tensor_content=b"1234567"), id="content-misfit"),
        pytest.param(_proto((2,), dtype=types_pb2.DT_STRING, tensor_content=b"\x01\x02ab"), id="list-short"),
        pytest.param(_proto((1,), dtype=types_pb2.DT_STRING, tensor_content=b"\xff"), id="length-cut"),
        pytest.param(
            _proto((1,), dtype=types_pb2.DT_STRING, tensor_content=b"\xff" * 9), id="length-endless"
        ),
    ],
)
def test_what_describes_no_tensor_is_refused(proto: Any) -> None:
    """A TensorProto that TensorFlow's own reader refuses raises TensorParseError."""
    with pytest.raises(tensors.TensorParseError):
        tensors.decode(proto)


FIELDS: dict[str, Any] = {
    "float_val": st.floats(width=32),
    "double_val": st.floats(),
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "string_val": st.binary(max_size=3),
    "scomplex_val": st.floats(width=32),
    "int64_val": INT64,
    "bool_val": st.booleans(),
    "half_val": st.integers(-(2**31), 2**31 - 1),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
}


@given(st.data(), st.sampled_from(ECHO_TYPES), st.booleans())
def test_any_proto_reads_as_tensorflow_reads_it(data: Any, dtype: Any, unknown_rank: bool) -> None:  # noqa: FBT001  # drawn
    """Values, bytes, too few or too many of them: the array is `Tensor::FromProto`'s, or both refuse."""
    shape = data.draw(st.lists(st.integers(-1, 3), max_size=3))
    proto = _proto(tuple(shape), dtype=dtype.as_datatype_enum)
    proto.tensor_shape.unknown_rank = unknown_rank
    for name in data.draw(st.sets(st.sampled_from(sorted(FIELDS)))):
        getattr(proto, name).extend(data.draw(st.lists(FIELDS[name], max_size=5)))
    if data.draw(st.booleans()):
        proto.tensor_content = data.draw(st.binary(max_size=24))
    try:
        # One more dimension: numpy would cut the zeros off the end of a scalar string.
        expected = tf.io.parse_tensor(proto.SerializeToString(), dtype)[None].numpy()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(tensors.TensorParseError):
            tensors.decode(proto)
        return
    decoded = tensors.decode(proto)
    assert decoded.shape == expected.shape[1:]
    if dtype == tf.string:
        assert decoded.reshape(-1).tolist() == expected.reshape(-1).tolist()
    else:
        assert decoded.tobytes() == expected.tobytes()


def test_a_quantised_tensor_keeps_its_type() -> None:
    """A qint8 tensor travels in int_val and comes back as numpy's qint8."""
    proto = _proto((3,), dtype=types_pb2.DT_QINT8, int_val=[-128, 0, 127])
    decoded = tensors.decode(proto)
    assert decoded.dtype == np.dtype(tf.qint8.as_numpy_dtype)
    assert tensors.encode(decoded, types_pb2.DT_QINT8) == proto.SerializeToString()
