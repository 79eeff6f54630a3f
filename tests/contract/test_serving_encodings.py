"""How each type travels, and what is no tensor or no request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

from tests.contract.client import Client, Refusal, array, refusal, spec, tensor

ECHOED: list[Any] = [
    ("float32", [1.5, -2], "float_val"),
    ("float64", [1e300, -2], "double_val"),
    ("int32", [2**31 - 1, -(2**31)], "int_val"),
    ("uint8", [0, 255], "int_val"),
    ("int16", [-32768, 1], "int_val"),
    ("int8", [-128, 127], "int_val"),
    ("string", [b"a\0\xff", b""], "string_val"),
    ("complex64", [1 + 2j, -1j], "scomplex_val"),
    ("int64", [2**63 - 1, -(2**63)], "int64_val"),
    ("bool", [True, False], "bool_val"),
    ("bfloat16", [1.5, -2], "half_val"),
    ("uint16", [0, 65535], "int_val"),
    ("complex128", [1 + 2j, -1j], "dcomplex_val"),
    ("float16", [1.5, -2], "half_val"),
    ("uint32", [0, 2**32 - 1], "uint32_val"),
    ("uint64", [0, 2**64 - 1], "uint64_val"),
]


@pytest.mark.parametrize(("name", "values", "field"), ECHOED, ids=[row[0] for row in ECHOED])
def test_every_type_travels_in_its_typed_field(
    client: Client, name: str, values: list[Any], field: str
) -> None:
    """Section 5: each DataType comes back in its own typed field of TensorProto, value for value."""
    sent = np.array(values, tf.dtypes.as_dtype(name).as_numpy_dtype)
    reply = client.predict(spec("echo", signature=name), {"x": tensor(sent)}).outputs["y"]
    assert [descriptor.name for descriptor, _ in reply.ListFields()] == ["dtype", "tensor_shape", field]
    assert array(reply).tolist() == sent.tolist()


def test_an_unknown_rank_is_not_looked_at(client: Client) -> None:
    """Section 5: a TensorShape takes the dimensions that are there, whatever `unknown_rank` says."""
    shape = tensor_shape_pb2.TensorShapeProto(unknown_rank=True)
    shape.dim.add(size=2)
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape, float_val=[1])
    assert array(client.predict("half_plus_two", {"x": proto}).outputs["y"]).tolist() == [2.5, 2.5]


@pytest.mark.parametrize("method", ["Predict", "Classify", "GetModelMetadata"])
def test_what_is_no_request_is_an_internal_error(client: Client, method: str) -> None:
    """Bytes that are not the method's message are gRPC's to refuse: INTERNAL, in words of its own."""
    call: Any = client.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    assert refusal(call, b"\xff\xff").code == "INTERNAL"


def test_an_operation_without_outputs_cannot_be_fetched(client: Client) -> None:
    """TF2's `__saved_model_init_op`, listed among the signatures, is DirectSession's to refuse."""
    assert refusal(client.predict, spec("half_plus_two", signature="__saved_model_init_op")) == Refusal(
        "INVALID_ARGUMENT", "FetchOutputs NoOp: output index too large, must be < 0"
    )
