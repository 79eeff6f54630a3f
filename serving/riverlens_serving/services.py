"""The gRPC methods: bytes in, bytes out, a status for everything that fails.

Predict's handler gets raw bytes and gives raw bytes: parsing and writing happen here, under our hands, where
their cost can be seen (`Predict.handle` is what the overhead benchmark times).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from riverlens_serving import lookup, metadata, prediction
from riverlens_serving.config import PredictOptions
from riverlens_serving.registry import Registry
from riverlens_serving.status import ServingError, cut, invalid

_log = logging.getLogger(__name__)

_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Predict:
    """The Predict method without its transport."""

    def __init__(self, registry: Registry, options: PredictOptions) -> None:
        self._registry = registry
        self._options = options

    def handle(self, request_bytes: bytes, timeout_ms: int) -> bytes:
        """A serialized PredictRequest to a serialized PredictResponse. `timeout_ms <= 0`: none.

        Raises:
            ServingError: with the status for the caller.
        """
        request = predict_pb2.PredictRequest.FromString(request_bytes)
        if not request.HasField("model_spec"):
            raise invalid(lookup.MISSING_MODEL_SPEC)
        name = request.model_spec.name
        with lookup.hold(self._registry, request.model_spec) as held:
            servable = held.servable
            call = prediction.prepare(request, servable, self._options)
            outputs = servable.session.run(call.feeds, call.fetches, timeout_ms)
            as_content = self._options.reply_as_content
            return prediction.reply(name, held.version, call, outputs, servable, as_content=as_content)


def handlers(registry: Registry, predict: Predict) -> tuple[grpc.GenericRpcHandler, ...]:
    """PredictionService and ModelService. A method that is not served is UNIMPLEMENTED."""
    get_metadata = _method(
        get_model_metadata_pb2.GetModelMetadataRequest,
        lambda request: metadata.get_model_metadata(request, registry),
    )
    get_status = _method(
        get_model_status_pb2.GetModelStatusRequest,
        lambda request: metadata.get_model_status(request, registry),
    )
    return (
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService",
            {"Predict": _handler(predict.handle), "GetModelMetadata": _handler(get_metadata)},
        ),
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.ModelService", {"GetModelStatus": _handler(get_status)}
        ),
    )


def _method(request_type: Any, answer: Callable[[Any], Any]) -> Callable[[bytes, int], bytes]:
    def handle(request_bytes: bytes, _timeout_ms: int) -> bytes:
        response: bytes = answer(request_type.FromString(request_bytes)).SerializeToString()
        return response

    return handle


def _handler(handle: Callable[[bytes, int], bytes]) -> Any:
    def serve(request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return handle(request_bytes, _timeout_ms(context))
        except ServingError as error:
            context.set_code(_GRPC_CODES[error.code])
            context.set_details(cut(error.message))
        except Exception:  # noqa: BLE001  # a defect must not look like the caller's fault: INTERNAL, and a traceback
            _log.exception("a handler failed")
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details("the model server failed; its log says why")
        return b""

    return grpc.unary_unary_rpc_method_handler(serve)


_NO_DEADLINE_S = 1e9
"""Python gRPC gives a call without a deadline some 292 million years."""


def _timeout_ms(context: grpc.ServicerContext) -> int:
    """The caller's deadline for RunOptions. One already past gives 0, no timeout, as TensorFlow Serving."""
    remaining_s = context.time_remaining()
    if remaining_s > _NO_DEADLINE_S:
        return 0
    return int(remaining_s * 1000)
