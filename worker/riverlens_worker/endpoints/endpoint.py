"""One model server over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from riverlens.errors import UnreachableError
from riverlens.signature import SignatureSpec
from riverlens_worker._stubs import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
    PredictResponse,
    SignatureDefMap,
)
from riverlens_worker.endpoint_load import EndpointLoad
from riverlens_worker.endpoints.tls import Tls, diagnose
from riverlens_worker.errors import ModelError
from riverlens_worker.tensors import read_signatures

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MiB by default: less than many a reply
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # how long one attempt may take, a TLS handshake included
    ("grpc.max_reconnect_backoff_ms", 500),  # work goes on soon after a server's return
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each endpoint
)
_PROBE_S = 0.25
_CALL_TIMEOUT_S = 10.0
_STATUS_TIMEOUT_S = 2.0
_DIAGNOSE_EVERY = 10


class CallFailedError(Exception):
    """A call ended with a gRPC status: `code` is its name, `details` the server's text."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details


class Endpoint:
    """One model server. Every call has a deadline; every failure is a CallFailedError.

    Attributes:
        server: host:port, as messages and metrics name it.
        load: what it has under way and what that costs.
        up: whether it may be asked: it said AVAILABLE and nothing since says otherwise.
        why: why it is not up, in words.
        ejections: how often in a row it was given up, without an answer between.
    """

    def __init__(
        self,
        server: str,
        model: str,
        tls: Tls | None = None,
        *,
        load: EndpointLoad | None = None,
        name: str = "",
    ) -> None:
        """`name`: what the server's certificate says, where `server` is one address of that name."""
        self.server = server
        self.load = load or EndpointLoad(2)
        self.up = False
        self.why = "not asked yet"
        self.ejections = 0
        self._model = model
        self._tls = tls if tls is None or tls.name else Tls(tls.ca_file, tls.cert_file, tls.key_file, name)
        self._failures = 0
        self._diagnosis: str | None = None
        self._under_way: set[Any] = set()
        self._channel = self._open()
        prediction, models = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
        self._predict: Any = self._channel.unary_unary(
            f"{prediction}Predict", response_deserializer=PredictResponse.FromString
        )
        self._metadata = self._method(
            f"{prediction}GetModelMetadata", GetModelMetadataRequest, GetModelMetadataResponse
        )
        self._status = self._method(f"{models}GetModelStatus", GetModelStatusRequest, GetModelStatusResponse)

    def _open(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self.server, options=_OPTIONS)
        options = list(_OPTIONS)
        if self._tls.name:
            options += [("grpc.ssl_target_name_override", self._tls.name)]  # type: ignore[list-item]  # str
        return grpc.aio.secure_channel(self.server, self._tls.credentials(), options=options)

    def _method(self, path: str, request: Any, reply: Any) -> Any:
        return self._channel.unary_unary(
            path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )

    async def close(self) -> None:
        """End the connection; calls under way fail with CANCELLED."""
        await self._channel.close()

    async def predict(
        self, request: bytes, timeout_s: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> Any:
        """One Predict call: a serialised PredictRequest in, PredictResponse out.

        Raises:
            CallFailedError: any status but OK.
        """
        call = self._predict(request, timeout=timeout_s, metadata=metadata)
        self._under_way.add(call)
        try:
            return await self._answer(call)
        except asyncio.CancelledError:
            if call in self._under_way:
                raise
            raise CallFailedError("UNAVAILABLE", "given up: it does not answer") from None
        finally:
            self._under_way.discard(call)

    def give_up_calls(self) -> None:
        """End all Predict calls under way, as UNAVAILABLE: their frames are asked elsewhere."""
        given_up, self._under_way = self._under_way, set()
        for call in given_up:
            call.cancel()

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
            ModelError, UnreachableError: as `why_not_available`.
        """
        while (why := await self.why_not_available()) is not None:
            waiting(why)
            await asyncio.sleep(_PROBE_S)

    async def why_not_available(self) -> str | None:
        """Why the model cannot be asked now; None where a version of it is AVAILABLE.

        Raises:
            ModelError: the server does not know the model, or could not load it.
            UnreachableError: it is there, but TLS keeps us from speaking with it.
        """
        try:
            states = await self.versions(_STATUS_TIMEOUT_S)
        except CallFailedError as error:
            return await self._why_no_answer(error)
        self._failures, self._diagnosis = 0, None
        if any(state == ModelVersionStatus.AVAILABLE for _, state, _ in states):
            return None
        failed = [status for _, state, status in states if state == ModelVersionStatus.END]
        if states and len(failed) == len(states) and any(status.error_code for status in failed):
            raise ModelError(
                f"the model server at {self.server} could not load {self._model!r}: {failed[0].error_message}"
            )
        return f"{self.server} is loading {self._model!r}"

    async def versions(self, timeout_s: float) -> list[tuple[int, int, Any]]:
        """(version, state, status) of each version of the model that the server knows.

        Raises:
            CallFailedError: any status but OK.
        """
        request = GetModelStatusRequest()
        request.model_spec.name = self._model
        reply = await self._call(self._status, request, timeout_s)
        return [(status.version, status.state, status.status) for status in reply.model_version_status]

    async def _why_no_answer(self, error: CallFailedError) -> str:
        if error.code == "NOT_FOUND":
            raise ModelError(
                f"the model server at {self.server} does not serve a model named {self._model!r} "
                f"({error.details}); see the setting model"
            ) from None
        # A handshake a second would fill the server's log.
        if error.code == "UNAVAILABLE" and self._failures % _DIAGNOSE_EVERY == 0:
            host, _, port = self.server.rpartition(":")
            self._diagnosis = await diagnose(host, int(port), self._tls)
        self._failures += 1
        if self._diagnosis is not None:
            raise UnreachableError(self._diagnosis) from None
        return f"{self.server} does not answer ({error.code}: {error.details}); see the setting server"

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        return await self._answer(method(request, timeout=timeout_s))

    async def _answer(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise CallFailedError(error.code().name, error.details() or "") from None
