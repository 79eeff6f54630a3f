"""The methods of PredictionService and ModelService: bytes in, bytes out, ServingError for all that fails.

Predict gets raw bytes and gives raw bytes: parsing and writing happen here, under our hands, where their cost
can be seen (`Services.predict` is what the overhead benchmark times).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from riverlens_serving import lookup, metadata, model_config
from riverlens_serving.config import Model
from riverlens_serving.inference import Inference
from riverlens_serving.metrics import Counter, Metrics
from riverlens_serving.registry import Registry
from riverlens_serving.status import Code, ServingError, invalid

_log = logging.getLogger(__name__)

Handle = Callable[[bytes, int], bytes]
"""Request bytes and the caller's timeout in ms (0 or less: none) to reply bytes; raises ServingError."""

Reload = Callable[[tuple[Model, ...], int], None]
"""Serve these models from now on, waiting for new ones for so many ms; raises ServingError."""

_GRPC = "GRPC"


@dataclass(frozen=True, slots=True)
class Services:
    """What the gRPC methods do, without their transport."""

    registry: Registry
    inference: Inference
    metrics: Metrics
    reload: Reload

    def predict(self, request_bytes: bytes, timeout_ms: int) -> bytes:
        """A serialized PredictRequest to a serialized PredictResponse."""
        request = _parsed(predict_pb2.PredictRequest, request_bytes)
        with self.metrics.request(request.model_spec.name, "Predict", _GRPC):
            _check_spec(request)
            with lookup.hold(self.registry, request.model_spec) as held:
                return self.inference.predict(held.servable, held.version, request, timeout_ms)

    def classify(self, request: Any, timeout_ms: int) -> Any:
        """A ClassificationRequest to a ClassificationResponse."""
        with self.metrics.request(request.model_spec.name, "Classify", _GRPC):
            _check_spec(request)
            with lookup.hold(self.registry, request.model_spec) as held:
                return self.inference.classify(held.servable, held.version, request, timeout_ms)

    def regress(self, request: Any, timeout_ms: int) -> Any:
        """A RegressionRequest to a RegressionResponse."""
        with self.metrics.request(request.model_spec.name, "Regress", _GRPC):
            _check_spec(request)
            with lookup.hold(self.registry, request.model_spec) as held:
                return self.inference.regress(held.servable, held.version, request, timeout_ms)

    def multi_inference(self, request: Any, timeout_ms: int) -> Any:
        """A MultiInferenceRequest to a MultiInferenceResponse. The first task's ModelSpec finds the model."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with lookup.hold(self.registry, spec) as held:
            return self.inference.multi_inference(held.servable, held.version, request, timeout_ms)

    def reload_config(self, request: Any, timeout_ms: int) -> Any:
        """A ReloadConfigRequest to a ReloadConfigResponse, once every new model answers."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is"
                " currently supported"
            )
        try:
            models = model_config.from_message(request.config)
        except ValueError as error:
            raise invalid(str(error)) from error
        counters = {family.name: family for family in self.metrics.families() if isinstance(family, Counter)}
        before = {name: _value(counters.get(name)) for name in request.metric_names}
        self.reload(models, timeout_ms)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        for name, value in before.items():
            response.metric.add(name=name, int64_value_increase=_value(counters.get(name)) - value)
        return response

    def get_model_metadata(self, request: Any, _timeout_ms: int) -> Any:
        """See `metadata.get_model_metadata`."""
        return metadata.get_model_metadata(request, self.registry)

    def get_model_status(self, request: Any, _timeout_ms: int) -> Any:
        """See `metadata.get_model_status`."""
        return metadata.get_model_status(request, self.registry)

    def methods(self) -> Mapping[str, Mapping[str, Handle]]:
        """Service -> method -> handler. What is not in it is UNIMPLEMENTED."""
        return {
            "tensorflow.serving.PredictionService": {
                "Predict": self.predict,
                "Classify": _message(classification_pb2.ClassificationRequest, self.classify),
                "Regress": _message(regression_pb2.RegressionRequest, self.regress),
                "MultiInference": _message(inference_pb2.MultiInferenceRequest, self.multi_inference),
                "GetModelMetadata": _message(
                    get_model_metadata_pb2.GetModelMetadataRequest, self.get_model_metadata
                ),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": _message(get_model_status_pb2.GetModelStatusRequest, self.get_model_status),
                "HandleReloadConfigRequest": _message(
                    model_management_pb2.ReloadConfigRequest, self.reload_config
                ),
            },
        }


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid(lookup.MISSING_MODEL_SPEC)


def _value(counter: Counter | None) -> int:
    return 0 if counter is None else counter.first()


def _parsed(request_type: Any, request_bytes: bytes) -> Any:
    try:
        return request_type.FromString(request_bytes)
    except DecodeError as error:
        # gRPC's own refusal, which it makes before any handler sees the call.
        raise ServingError(Code.INTERNAL, f"not a {request_type.DESCRIPTOR.full_name}") from error


def _message(request_type: Any, answer: Callable[[Any, int], Any]) -> Handle:
    def handle(request_bytes: bytes, timeout_ms: int) -> bytes:
        response: bytes = answer(_parsed(request_type, request_bytes), timeout_ms).SerializeToString()
        return response

    return handle


def defect(error: Exception) -> ServingError:
    """A failure of our own, which must not look like the caller's: INTERNAL, and a traceback in the log."""
    _log.error("a handler failed", exc_info=error)
    return ServingError(Code.INTERNAL, "the model server failed; its log says why")
