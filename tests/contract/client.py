"""A thin client of TensorFlow Serving's gRPC services, as the contract tests call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

TIMEOUT_S = 30.0
_UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status of a call that failed."""

    code: str
    message: str


def tensor(value: Any, dtype: Any = None) -> Any:
    """A TensorProto."""
    return tf.make_tensor_proto(value, dtype)


def floats(*values: Any) -> Any:
    """A float TensorProto of these rows."""
    return tensor(list(values), tf.float32)


def spec(name: str = "", version: int | None = None, label: str | None = None, signature: str = "") -> Any:
    """A ModelSpec."""
    message = model_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


def predict_request(
    model: Any, inputs: Mapping[str, Any] | None = None, output_filter: Sequence[str] = ()
) -> Any:
    """A PredictRequest; `model` is a name, a ModelSpec, or None for no ModelSpec at all."""
    request = predict_pb2.PredictRequest(inputs=inputs or {}, output_filter=output_filter)
    if model is not None:
        request.model_spec.CopyFrom(spec(model) if isinstance(model, str) else model)
    return request


def example(**features: float) -> Any:
    """A tf.Example of float features."""
    message = example_pb2.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message


def examples(*values: Any) -> Any:
    """An Input of these tf.Examples."""
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=values))


def array(proto: Any) -> Any:
    """The values of a reply's tensor."""
    return tf.make_ndarray(proto)


class Client:
    """Calls one server. A context manager."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, _UNLIMITED)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def predict(
        self,
        model: Any,
        inputs: Mapping[str, Any] | None = None,
        output_filter: Sequence[str] = (),
        timeout_s: float | None = TIMEOUT_S,
    ) -> Any:
        """The PredictResponse."""
        return self._prediction.Predict(predict_request(model, inputs, output_filter), timeout_s)

    def predict_future(self, model: Any, inputs: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> Any:
        """The call under way: `.result()` gives the PredictResponse."""
        return self._prediction.Predict.future(predict_request(model, inputs), timeout_s)

    def classify(self, model: Any, given: Any) -> Any:
        """The ClassificationResponse to an Input."""
        request = classification_pb2.ClassificationRequest(model_spec=model, input=given)
        return self._prediction.Classify(request, TIMEOUT_S)

    def regress(self, model: Any, given: Any) -> Any:
        """The RegressionResponse to an Input."""
        request = regression_pb2.RegressionRequest(model_spec=model, input=given)
        return self._prediction.Regress(request, TIMEOUT_S)

    def multi_inference(self, tasks: Sequence[tuple[Any, str]], given: Any) -> Any:
        """The MultiInferenceResponse to tasks of a ModelSpec and a method, on one Input."""
        request = inference_pb2.MultiInferenceRequest(input=given)
        for model, method in tasks:
            request.tasks.add(model_spec=model, method_name=f"tensorflow/serving/{method}")
        return self._prediction.MultiInference(request, TIMEOUT_S)

    def reload(self, config: Any, metric_names: Sequence[str] = ()) -> Any:
        """The ReloadConfigResponse."""
        request = model_management_pb2.ReloadConfigRequest(config=config, metric_names=metric_names)
        return self._models.HandleReloadConfigRequest(request, TIMEOUT_S)

    def metadata(self, model: Any, fields: Sequence[str] = ("signature_def",)) -> Any:
        """The GetModelMetadataResponse."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=model, metadata_field=fields)
        return self._prediction.GetModelMetadata(request, TIMEOUT_S)

    def signatures(self, model: Any) -> Any:
        """The model's signatures by key."""
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert self.metadata(model).metadata["signature_def"].Unpack(signatures)
        return signatures.signature_def

    def status(self, model: Any) -> Any:
        """The GetModelStatusResponse."""
        return self._models.GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(model_spec=model), TIMEOUT_S
        )


def refusal(call: Any, *arguments: Any, **keywords: Any) -> Refusal:
    """The status that a call ends in, which must not be OK."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    return refused(caught.value)


def refused(error: Any) -> Refusal:
    """A gRPC error as a value that tests compare."""
    return Refusal(error.code().name, error.details())
