"""A model server whose behaviour a test scripts: real gRPC, no model, any status at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from riverlens.signature import InputKind, Layout, OutputKind
from riverlens_worker._stubs import (
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
    PredictRequest,
    PredictResponse,
    types_pb2,
)
from riverlens_worker.model import ServedModel
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import ENCODED

LAYOUT = Layout(
    "serving_default", "images", InputKind.ENCODED, "string", None, None, None, OutputKind.ARRAYS, ("y",)
)
Refusal = tuple[str, str]
Behave = Callable[[list[bytes]], Awaitable[Refusal | None]]


async def _answers(_: list[bytes]) -> Refusal | None:
    return None


class ScriptedServer:
    """Serves the model `street`: strings in, the length of each out.

    Attributes:
        behave: called with a call's images; a status name and text where it refuses, None where it answers.
        states: ModelVersionStatus states that GetModelStatus tells; empty: NOT_FOUND.
        calls: rows of each Predict call so far.
        metadata: gRPC metadata of each Predict call so far.
        most_at_once: the most Predict calls that were ever under way together.
    """

    def __init__(self, behave: Behave = _answers) -> None:
        self.behave = behave
        self.states: list[int] = [ModelVersionStatus.AVAILABLE]
        self.version = 1
        self.calls: list[int] = []
        self.metadata: list[dict[str, str]] = []
        self.most_at_once = 0
        self.port = 0
        self._at_once = 0
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    async def start(self, host: str = "127.0.0.1") -> None:
        """Listen: on a free port the first time, on the same one after a `stop`."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(
            (
                self._service("Prediction", "Predict", PredictRequest, self._predict),
                self._service("Model", "GetModelStatus", GetModelStatusRequest, self._status),
            )
        )
        self.port = self._server.add_insecure_port(f"{host}:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """As a killed server: calls under way and connections break off."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    @staticmethod
    def _service(name: str, method: str, request: Any, handle: Any) -> Any:
        handler: Any = grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request.FromString,
            response_serializer=lambda m: m.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}Service", {method: handler})

    async def _status(self, _: Any, context: Any) -> Any:
        if not self.states:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model street")
        reply = GetModelStatusResponse()
        for state in self.states:
            reply.model_version_status.add(version=self.version, state=state)
        return reply

    async def _predict(self, request: Any, context: Any) -> Any:
        images = list(request.inputs["images"].string_val)
        self.calls.append(len(images))
        self.metadata.append(dict(context.invocation_metadata()))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            refusal = await self.behave(images)
        finally:
            self._at_once -= 1
        if refusal is not None:
            await context.abort(grpc.StatusCode[refusal[0]], refusal[1])
        reply = PredictResponse()
        reply.model_spec.version.value = self.version
        output = reply.outputs["y"]
        output.dtype = types_pb2.DT_FLOAT
        output.tensor_shape.dim.add(size=len(images))
        output.float_val.extend(len(image) for image in images)
        return reply


def takes(seconds: float, seconds_per_row: float = 0.0) -> Behave:
    """A device that answers one call at a time, in a time that depends on its rows."""
    device = asyncio.Lock()

    async def behave(images: list[bytes]) -> Refusal | None:
        async with device:
            await asyncio.sleep(seconds + seconds_per_row * len(images))
        return None

    return behave


def refuses(guilty: Callable[[bytes], bool], code: str, text: str = "no such image") -> Behave:
    """Refuses every call that holds a guilty image."""

    async def behave(images: list[bytes]) -> Refusal | None:
        return (code, text) if any(map(guilty, images)) else None

    return behave


def model_of(settings: WorkerSettings, endpoint: Any) -> ServedModel:
    """The scripted model as the worker would find it."""
    return ServedModel(endpoint, settings, LAYOUT, ENCODED, own_labels={}, tells_info=False)
