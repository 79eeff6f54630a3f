"""One Predict call: frames to a request, the reply to answers, a failure to a verdict."""

from __future__ import annotations

import time
from dataclasses import replace

from riverlens.trace_context import TraceContext
from riverlens_worker.detections import MisshapenReplyError, read_answers
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.errors import Action, Verdict, decide
from riverlens_worker.expectation import Call
from riverlens_worker.messages import Answer, DecodedFrame, Prediction, Rejected
from riverlens_worker.metrics import Metrics, Stage
from riverlens_worker.model import ServedModel, test_rows
from riverlens_worker.pieces import Piece
from riverlens_worker.predict_request import predict_request
from riverlens_worker.spans import CallTrace
from riverlens_worker.tensors import read_reply
from riverlens_worker.tracing import Tracer


class Caller:
    """Calls one model, wherever it is served."""

    def __init__(self, model: ServedModel, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._model = model
        self._metrics = metrics
        self._tracer = tracer
        self._name = model.settings.model
        self._timeout_s = model.settings.predict_timeout_ms / 1000
        self._known_good: bytes | None = None

    async def ask(
        self, piece: Piece, endpoint: Endpoint, call: Call
    ) -> list[Prediction | Rejected] | Verdict:
        """Answers, one a frame, or what the failure means. `call` is entered in the endpoint's load."""
        if self._tracer is None:
            return await self._ask(piece, endpoint, call, None)
        trace = self._tracer.call(piece.frames)
        said = await self._ask(piece, endpoint, call, trace)
        if trace is not None:
            self._tracer.called(trace, endpoint.server, call.started_s, len(piece.frames), said)
        return said

    async def _ask(
        self, piece: Piece, endpoint: Endpoint, call: Call, trace: CallTrace | None
    ) -> list[Prediction | Rejected] | Verdict:
        frames = piece.frames
        layout = self._model.layout
        request = predict_request(self._name, layout, [frame.row for frame in frames])
        # Two calls that leave at once are built one after the other: that is none of the server's time.
        call.started_s = time.monotonic()
        self._metrics.calls_in_flight.inc()
        under_way = self._metrics.endpoint_calls(endpoint.server)
        under_way.inc()
        try:
            reply = await endpoint.predict(request, self._timeout_s, () if trace is None else trace.metadata)
            answered_s = time.monotonic()
            version, arrays = read_reply(reply)
            reading = await self._model.reading(version, endpoint)
            answers = read_answers(layout, arrays, len(frames), reading, self._model.places(frames))
        except CallFailedError as error:
            self._metrics.predict_errors(error.code).inc()
            endpoint.load.failed(call, time.monotonic())
            return decide(error.code, error.details)
        except (MisshapenReplyError, ValueError) as error:
            self._metrics.predict_errors("MISSHAPEN").inc()
            endpoint.load.failed(call, time.monotonic())
            return Verdict(Action.BISECT, str(error))
        finally:
            self._metrics.calls_in_flight.dec()
            under_way.dec()
        endpoint.load.passed(call, answered_s)
        endpoint.ejections = 0
        self._observe(len(frames), answered_s - call.started_s, version, endpoint)
        traced = None if trace is None else trace.context
        return _predictions(piece, answers, version, (call.started_s, answered_s), traced)

    async def ask_known_good(self, endpoint: Endpoint) -> Verdict | None:
        """Send the test image that the model took at the start; None where it is answered again."""
        model = self._model
        if self._known_good is None:
            self._known_good = predict_request(self._name, model.layout, test_rows(model.target)[:1])
        try:
            version, arrays = read_reply(await endpoint.predict(self._known_good, self._timeout_s))
            reading = await model.reading(version, endpoint)
            read_answers(model.layout, arrays, 1, reading, model.test_places())
        except CallFailedError as error:
            return decide(error.code, error.details)
        except (MisshapenReplyError, ValueError) as error:
            return Verdict(Action.BISECT, str(error))
        return None

    def _observe(self, rows: int, seconds: float, version: int, endpoint: Endpoint) -> None:
        metrics = self._metrics
        metrics.predict.observe(seconds)
        metrics.model_version.set(version)
        metrics.endpoint_frames(endpoint.server).inc(rows)
        metrics.stage[Stage.PREDICT].observe(seconds, rows)


def _without_pixels(frame: DecodedFrame) -> DecodedFrame:
    """Answers that wait for a slow frame before them must not keep their pixels; its own bytes it keeps."""
    return frame if frame.row is frame.source.image else replace(frame, row=b"")


def _predictions(
    piece: Piece,
    answers: list[Answer],
    version: int,
    times_s: tuple[float, float],
    call: TraceContext | None,
) -> list[Prediction | Rejected]:
    started_s, answered_s = times_s
    return [
        Prediction(
            source=_without_pixels(frame),
            answer=answer,
            version=version,
            predict_ms=(answered_s - started_s) * 1000,
            batch_size=len(piece.frames),
            batch_reason=piece.reason,
            queue_ms=max(0.0, (started_s - frame.source.arrived_s) * 1000 - frame.decode_ms),
            answered_s=answered_s,
            call=call,
        )
        for frame, answer in zip(piece.frames, answers, strict=True)
    ]
