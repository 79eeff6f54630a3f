"""The simulated model server: TensorFlow Serving's gRPC around one schedule. Shell.

Requests stay raw bytes, answers are made once for each number of rows: at saturation with 45 kB images
most of its CPU is gRPC's own reading. Its event loop must be a precise one.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace
from functools import lru_cache
from typing import Any

import grpc
import grpc.aio

from benchmarks.device.commands import ENCODED, PIXELS
from benchmarks.device.schedule import Batch, Schedule, Setup
from benchmarks.device.wire import detector_answer, rows_in
from riverlens_worker._stubs import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelVersionStatus,
    SignatureDefMap,
    types_pb2,
)

BOXES_A_ROW = 100
"""As exported detectors answer, whatever is in the image."""
FOUND_A_ROW = 4
_SIDE = 320
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


class SimulatedServer:
    """One model server: its devices, its queue, what it ran. Lives in one event loop.

    Attributes:
        batches: what its devices have run or begun, by begin.
        late_s: how much later than it ended each batch was answered: somebody else had the core.
        calls: Predict calls since the last `forget`.
    """

    def __init__(self, setup: Setup) -> None:
        self.batches: list[Batch] = []
        self.late_s: list[float] = []
        self.calls = 0
        self._schedule = Schedule(setup)
        self._answers: dict[int, tuple[str, int, asyncio.Future[bytes]]] = {}
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def setup(self) -> Setup:
        """What is simulated now."""
        return self._schedule.setup

    def change(self, *, factor: float) -> None:
        """Batches that begin from now on take `factor` times as long."""
        self._wake()
        self._schedule.change(replace(self.setup, factor=factor))

    def forget(self) -> None:
        """Count from now."""
        self.batches.clear()
        self.late_s.clear()
        self.calls = 0

    async def start(self, address: str) -> None:
        """Listen on host:port."""
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "tensorflow.serving.PredictionService",
                    {
                        # No serializers: bytes in, bytes out.
                        "Predict": grpc.unary_unary_rpc_method_handler(self._predict),
                        "GetModelMetadata": _message_handler(_metadata, GetModelMetadataRequest),
                    },
                ),
                grpc.method_handlers_generic_handler(
                    "tensorflow.serving.ModelService",
                    {"GetModelStatus": _message_handler(_status, GetModelStatusRequest)},
                ),
            )
        )
        self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self) -> None:
        """Break off what is under way."""
        if self._server is not None:
            await self._server.stop(None)

    async def _predict(self, request: bytes, context: Any) -> bytes:
        rows = rows_in(request)
        refusal = self._schedule.refuses(rows)
        if refusal is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, refusal)
        self.calls += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        number = next(self._numbers)
        self._answers[number] = ("detector", rows, answer)
        self._schedule.add(number, rows, loop.time())
        self._wake()
        return await answer

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        for batch in self._schedule.begin(loop.time()):
            self.batches.append(batch)
            loop.call_at(batch.ended_s, self._finish, batch)
        if self._timer is not None:
            self._timer.cancel()
        due_s = self._schedule.begins_s()
        self._timer = None if due_s is None else loop.call_at(due_s, self._wake)

    def _finish(self, batch: Batch) -> None:
        self.late_s.append(asyncio.get_running_loop().time() - batch.ended_s)
        for call in batch.calls:
            model, rows, answer = self._answers.pop(call)
            if not answer.done():  # its client may be gone
                answer.set_result(_answer(model, rows))

    def report(self) -> dict[str, Any]:
        """What it ran, in JSON's types; times are seconds since the epoch."""
        to_wall_s = time.time() - time.monotonic()
        return {
            "cost_ms": [self.setup.cost.a_ms, self.setup.cost.b_ms],
            "devices": self.setup.devices,
            "merge_rows": self.setup.merge_rows,
            "factor": self.setup.factor,
            "calls": self.calls,
            "waiting": self._schedule.waiting,
            "late_s": self.late_s,
            "rows": sum(batch.rows for batch in self.batches),
            "busy_s": sum(batch.ended_s - batch.begun_s for batch in self.batches),
            "batches": [
                [
                    batch.begun_s + to_wall_s,
                    batch.ended_s + to_wall_s,
                    batch.rows,
                    len(batch.calls),
                    batch.device,
                    batch.waited_s,
                ]
                for batch in self.batches
            ],
        }


@lru_cache(maxsize=256)
def _answer(model: str, rows: int) -> bytes:
    return detector_answer(model, rows, BOXES_A_ROW, FOUND_A_ROW)


def _message_handler(handle: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


async def _status(request: Any, context: Any) -> Any:
    await _know(request.model_spec.name, context)
    reply = GetModelStatusResponse()
    reply.model_version_status.add(version=1, state=ModelVersionStatus.AVAILABLE)
    return reply


async def _metadata(request: Any, context: Any) -> Any:
    name = request.model_spec.name
    await _know(name, context)
    signatures = SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    if name == PIXELS:
        _describe(signature.inputs["input_tensor"], types_pb2.DT_UINT8, -1, _SIDE, _SIDE, 3)
    else:
        _describe(signature.inputs["encoded_image"], types_pb2.DT_STRING, -1)
    _describe(signature.outputs["detection_boxes"], types_pb2.DT_FLOAT, -1, BOXES_A_ROW, 4)
    for alias in ("detection_scores", "detection_classes"):
        _describe(signature.outputs[alias], types_pb2.DT_FLOAT, -1, BOXES_A_ROW)
    _describe(signature.outputs["num_detections"], types_pb2.DT_FLOAT, -1)
    reply = GetModelMetadataResponse()
    reply.model_spec.name = name
    reply.model_spec.version.value = 1
    reply.metadata["signature_def"].Pack(signatures)
    return reply


async def _know(name: str, context: Any) -> None:
    if name not in {PIXELS, ENCODED}:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")


def _describe(info: Any, dtype: int, *sizes: int) -> None:
    info.dtype = dtype
    for size in sizes:
        info.tensor_shape.dim.add(size=size)
