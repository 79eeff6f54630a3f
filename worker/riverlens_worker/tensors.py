"""A model server's replies, in NumPy. Shell only in that it loads the message stubs.

Numbers are read from `tensor_content` or a typed list; `np.array(float_val)` beats TensorFlow's own reader by
an order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riverlens.signature import INFO_SIGNATURE, ModelFacts, SignatureSpec, TensorSpec
from riverlens.signature.facts import read_facts
from riverlens_worker._stubs import PredictRequest, TensorProto, types_pb2
from riverlens_worker.dtypes import DTYPES


def info_request(model: str, version: int | None = None) -> bytes:
    """A serialised PredictRequest for the signature `riverlens_info`."""
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = INFO_SIGNATURE
    if version is not None:
        request.model_spec.version.value = version
    tensor = request.inputs["key"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(b"")
    written: bytes = request.SerializeToString()
    return written


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
    if tensor.dtype not in DTYPES:
        raise ValueError(f"outputs of TensorFlow type {_type_name(tensor.dtype)} are not read")
    name, field = DTYPES[tensor.dtype]
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
    dtype = DTYPES[info.dtype][0] if info.dtype in DTYPES else _type_name(info.dtype)
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
