"""Predict's checks and replies that need a server-wide switch or a misbehaving session to show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from riverlens_serving import prediction
from riverlens_serving.config import PredictOptions
from riverlens_serving.prediction import Call
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError
from tests.contract.client import floats, predict_request, spec


class _FloatSession:
    """A session whose tensors are all floats; it is never run here."""

    def run(self, *_: Any) -> list[Any]:
        raise AssertionError("this session is only asked for types")

    def data_type(self, _tensor_name: str) -> int:
        return int(types_pb2.DT_FLOAT)

    def close(self) -> None:
        raise AssertionError("this session is only asked for types")


def _servable(method_name: str = "tensorflow/serving/predict") -> Servable:
    signature = meta_graph_pb2.SignatureDef(method_name=method_name)
    signature.inputs["x"].name = "x:0"
    signature.outputs["y"].name = "y:0"
    return Servable({"serving_default": signature}, _FloatSession())


REQUEST = predict_request("m", {"x": floats(1)})


def test_other_method_names_are_refused_only_when_asked_for() -> None:
    """Row 14: with --enable_signature_method_name_check a custom method name is INTERNAL, else it serves."""
    servable = _servable("custom")
    assert prediction.prepare(REQUEST, servable, PredictOptions()).fetches == ("y:0",)
    with pytest.raises(ServingError) as caught:
        prediction.prepare(REQUEST, servable, PredictOptions(check_method_name=True))
    assert caught.value.code is Code.INTERNAL
    assert caught.value.message == (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}. Was: custom"
    )


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
def test_tensorflow_servings_method_names_pass_the_check(method: str) -> None:
    """Row 14: Predict on a classify or regress signature is served even under the check."""
    options = PredictOptions(check_method_name=True)
    call = prediction.prepare(REQUEST, _servable(f"tensorflow/serving/{method}"), options)
    assert call.feeds["x:0"].tolist() == [1]


CALL = Call("serving_default", {}, ("y",), ("y:0",))


def test_a_run_with_another_number_of_outputs_is_unknown() -> None:
    """Row 15: fewer outputs than were fetched is `Predict internal error`."""
    with pytest.raises(ServingError) as caught:
        prediction.reply("m", 1, CALL, [], _servable(), as_content=False)
    assert (caught.value.code, caught.value.message) == (Code.UNKNOWN, "Predict internal error")


def test_replies_as_tensor_content() -> None:
    """With --enable_serialization_as_tensor_content the same values travel as bytes."""
    values = np.array([1.5, 2.5], np.float32)
    reply = predict_pb2.PredictResponse.FromString(
        prediction.reply("m", 7, CALL, [values], _servable(), as_content=True)
    )
    assert reply.outputs["y"].tensor_content == values.tobytes()
    assert not reply.outputs["y"].float_val
    assert reply.model_spec == spec("m", version=7, signature="serving_default")


def test_an_unknown_signature_is_refused_before_anything_else() -> None:
    """Row 7 comes before everything about inputs and outputs."""
    with pytest.raises(ServingError) as caught:
        prediction.prepare(
            predict_request(spec("m", signature="s"), {}, ["?"]), _servable(), PredictOptions()
        )
    assert caught.value.message == 'Serving signature key "s" not found.'
