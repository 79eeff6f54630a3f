"""Predict requests and replies to and from NumPy. Shell only in that it loads the message stubs.

Numeric tensors travel as `tensor_content` (one copy), strings as `string_val`. Replies are read from
either form; `np.array(float_val)` beats TensorFlow's own reader by an order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverlens.signature import INFO_SIGNATURE, Layout, ModelFacts, SignatureSpec, TensorSpec
from riverlens.signature.facts import read_facts
from riverlens_worker._stubs import PredictRequest, TensorProto, types_pb2

_DTYPES = {
    types_pb2.DT_FLOAT: ("float32", "float_val"),
    types_pb2.DT_DOUBLE: ("float64", "double_val"),
    types_pb2.DT_INT32: ("int32", "int_val"),
    types_pb2.DT_UINT8: ("uint8", "int_val"),
    types_pb2.DT_INT16: ("int16", "int_val"),
    types_pb2.DT_INT8: ("int8", "int_val"),
    types_pb2.DT_UINT16: ("uint16", "int_val"),
    types_pb2.DT_INT64: ("int64", "int64_val"),
    types_pb2.DT_UINT32: ("uint32", "uint32_val"),
    types_pb2.DT_UINT64: ("uint64", "uint64_val"),
    types_pb2.DT_BOOL: ("bool", "bool_val"),
    types_pb2.DT_STRING: ("string", "string_val"),
    types_pb2.DT_HALF: ("float16", "half_val"),
    types_pb2.DT_BFLOAT16: ("bfloat16", "half_val"),
}
_ENUMS = {name: number for number, (name, _) in _DTYPES.items()}

Rows = Sequence[bytes | NDArray[np.generic]]


def predict_request(model: str, layout: Layout, rows: Rows) -> Any:
    """A PredictRequest of `rows` (at least one, equal shapes) that fetches only the layout's outputs.

    Where the model fixes the number of rows, the last one is repeated to fill it.
    """
    if layout.rows is not None:
        rows = [*rows, *[rows[-1]] * (layout.rows - len(rows))]
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = layout.signature
    request.output_filter.extend(layout.outputs)
    tensor = request.inputs[layout.alias]
    tensor.dtype = _ENUMS[layout.dtype]
    dims = [len(rows), *(rows[0].shape if isinstance(rows[0], np.ndarray) else ())]
    for size in dims:
        tensor.tensor_shape.dim.add(size=size)
    if layout.dtype == "string":
        tensor.string_val.extend(rows)
    else:
        tensor.tensor_content = b"".join(_raw(row) for row in rows)
    return request


def _raw(row: bytes | NDArray[np.generic]) -> bytes | memoryview:
    return row if isinstance(row, bytes) else np.ascontiguousarray(row).reshape(-1).view(np.uint8).data


def info_request(model: str, version: int | None = None) -> Any:
    """A PredictRequest for the signature `riverlens_info`."""
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = INFO_SIGNATURE
    if version is not None:
        request.model_spec.version.value = version
    tensor = request.inputs["key"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(b"")
    return request


def read_reply(reply: Any) -> tuple[int, dict[str, NDArray[np.generic]]]:
    """(model version, arrays by alias) of a PredictResponse."""
    arrays = {alias: read_tensor(tensor) for alias, tensor in reply.outputs.items()}
    return reply.model_spec.version.value, arrays


def read_tensor(tensor: TensorProto) -> NDArray[np.generic]:
    """A TensorProto as an array; strings as an object array of bytes.

    A typed list shorter than the shape repeats its last value, as TensorFlow does.

    Raises:
        ValueError: an unknown dtype, or content that does not fit the shape.
    """
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"outputs of TensorFlow type {_type_name(tensor.dtype)} are not read")
    name, field = _DTYPES[tensor.dtype]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    count = math.prod(shape)
    stored = np.dtype(np.uint16 if field == "half_val" else object if name == "string" else name)
    if tensor.tensor_content:
        return _of_halves(np.frombuffer(tensor.tensor_content, stored), name).reshape(shape)
    values: NDArray[Any] = np.array(getattr(tensor, field), stored)
    if len(values) < count:
        fill = values[-1] if len(values) else (b"" if name == "string" else stored.type(0))
        values = np.concatenate([values, np.full(count - len(values), fill, stored)])
    return _of_halves(values[:count], name).reshape(shape)


def _of_halves(values: NDArray[Any], name: str) -> NDArray[Any]:
    """What 16 bits stand for; bfloat16, which NumPy lacks, is the upper half of a float32."""
    if name == "float16":
        return values.view(np.float16)
    return (values.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else values


def read_signatures(signature_defs: Mapping[str, Any]) -> dict[str, SignatureSpec]:
    """SignatureDefs by name, in our own words."""
    return {
        name: SignatureSpec(
            inputs=_inputs(definition),
            outputs={alias: _spec(info) for alias, info in definition.outputs.items()},
            method=definition.method_name,
        )
        for name, definition in signature_defs.items()
    }


def _inputs(definition: Any) -> dict[str, TensorSpec]:
    """Inputs that a request must hold: all but those that have a default value."""
    inputs = {alias: _spec(info) for alias, info in definition.inputs.items()}
    needed = {alias: spec for alias, spec in inputs.items() if alias not in definition.defaults}
    return needed or inputs


def _spec(info: Any) -> TensorSpec:
    dtype = _DTYPES[info.dtype][0] if info.dtype in _DTYPES else _type_name(info.dtype)
    if info.tensor_shape.unknown_rank:
        return TensorSpec(dtype, None)
    sizes = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(dtype, sizes)


def _type_name(number: int) -> str:
    """TensorFlow's name of a type that is not read, in NumPy's way of writing."""
    names = types_pb2.DataType
    return names.Name(number).removeprefix("DT_").lower() if number in names.values() else f"type {number}"


def read_info(arrays: Mapping[str, NDArray[np.generic]]) -> ModelFacts:
    """What `riverlens_info` answered; an answer of another form tells nothing."""
    try:
        raw = bytes(np.asarray(arrays["json"]).reshape(-1)[0])
    except (KeyError, IndexError, TypeError):
        return ModelFacts(unknown=("no output json",))
    return read_facts(raw)
