"""The model server over gRPC. Shell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from riverlens.signature import SignatureSpec
from riverlens_worker._stubs import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
    PredictRequest,
    PredictResponse,
    SignatureDefMap,
)
from riverlens_worker.errors import ModelError
from riverlens_worker.tensors import read_signatures

logger = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MiB by default: less than many a reply
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # work goes on soon after a server's return
    ("grpc.keepalive_time_ms", 30_000),
)
_PROBE_S = 0.5
_TOLD_EVERY_S = 5.0
_CALL_TIMEOUT_S = 10.0


class CallFailedError(Exception):
    """A call ended with a gRPC status: `code` is its name, `details` the server's text."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details


class Endpoint:
    """One model server. Every call has a deadline; every failure is a CallFailedError."""

    def __init__(self, server: str, model: str) -> None:
        self.server = server
        self._model = model
        self._channel = grpc.aio.insecure_channel(server, options=_OPTIONS)
        prediction, models = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
        self._predict = self._method(f"{prediction}Predict", PredictRequest, PredictResponse)
        self._metadata = self._method(
            f"{prediction}GetModelMetadata", GetModelMetadataRequest, GetModelMetadataResponse
        )
        self._status = self._method(f"{models}GetModelStatus", GetModelStatusRequest, GetModelStatusResponse)

    def _method(self, path: str, request: Any, reply: Any) -> Any:
        return self._channel.unary_unary(
            path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )

    async def close(self) -> None:
        """End the connection; calls under way fail with CANCELLED."""
        await self._channel.close()

    async def predict(self, request: Any, timeout_s: float) -> Any:
        """One Predict call: PredictRequest in, PredictResponse out.

        Raises:
            CallFailedError: any status but OK.
        """
        return await self._call(self._predict, request, timeout_s)

    async def signatures(self) -> dict[str, SignatureSpec]:
        """The model's signatures, by GetModelMetadata.

        Raises:
            CallFailedError: any status but OK.
        """
        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        reply = await self._call(self._metadata, request, _CALL_TIMEOUT_S)
        found = SignatureDefMap()
        reply.metadata["signature_def"].Unpack(found)
        return read_signatures(found.signature_def)

    async def wait_available(self, waiting: Callable[[str], None]) -> None:
        """Wait until a version of the model is AVAILABLE, telling `waiting` why not, for as long as it takes.

        Raises:
            ModelError: the server answers that it does not know the model, or that loading it failed.
        """
        attempt = 0
        while True:
            why = await self._why_not_available()
            if why is None:
                return
            waiting(why)
            if attempt % round(_TOLD_EVERY_S / _PROBE_S) == 0:
                logger.warning("waiting for the model server: %s", why)
            attempt += 1
            await asyncio.sleep(_PROBE_S)

    async def _why_not_available(self) -> str | None:
        request = GetModelStatusRequest()
        request.model_spec.name = self._model
        try:
            reply = await self._call(self._status, request, _CALL_TIMEOUT_S)
        except CallFailedError as error:
            if error.code == "NOT_FOUND":
                raise ModelError(
                    f"the model server at {self.server} does not serve a model named {self._model!r} "
                    f"({error.details}); see the setting model"
                ) from None
            return f"{self.server} does not answer ({error.code}: {error.details}); see the setting server"
        states = [(status.version, status.state, status.status) for status in reply.model_version_status]
        if any(state == ModelVersionStatus.AVAILABLE for _, state, _ in states):
            return None
        failed = [status for _, state, status in states if state == ModelVersionStatus.END]
        if states and len(failed) == len(states) and any(status.error_code for status in failed):
            raise ModelError(f"the model server could not load {self._model!r}: {failed[0].error_message}")
        return f"{self.server} is loading {self._model!r}"

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        try:
            return await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise CallFailedError(error.code().name, error.details() or "") from None
