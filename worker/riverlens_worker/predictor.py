"""Asks the model. Shell: a few slots, each with one call under way.

A slot that is free pulls a batch: so a batch leaves when the server can take it, and grows until then.
What a failed call means is decided in `errors`; here it is only done.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from riverlens.dead_letter import Reason
from riverlens_worker.backoff import Backoff
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.detections import MisshapenReplyError, read_answers
from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.endpoints import CallFailedError
from riverlens_worker.errors import Action, ModelError, Verdict, decide
from riverlens_worker.messages import Batch, DecodedFrame, Prediction, Rejected, dead_letter, fenced
from riverlens_worker.metrics import Metrics, Stage
from riverlens_worker.model import ServedModel
from riverlens_worker.tensors import predict_request, read_reply

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictorPorts:
    """Where batches come from, results go to, and who hears of the server's batch limit."""

    take: Callable[[], Awaitable[Batch]]
    results: Channel[Prediction | Rejected]
    learn_limit: Callable[[int], None]
    waiting: Callable[[str], None]


@dataclass(slots=True)
class _Piece:
    """Frames of one batch that go in one call; a batch is cut into pieces only after a refusal."""

    frames: list[DecodedFrame]
    alone_before: bool = False


class Predictor:
    """K slots that take batches, call the model and pass answers on. Ends when its input ends."""

    def __init__(self, ports: PredictorPorts, model: ServedModel, metrics: Metrics) -> None:
        self._ports = ports
        self._model = model
        self._metrics = metrics
        self._settings = model.settings
        self._backoff = Backoff()
        self.fit = ServiceTimeFit()
        self._answered_s = 0.0

    async def run(self) -> None:
        """Predict until the input ends."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.max_in_flight_calls):
                group.create_task(self._slot())

    async def _slot(self) -> None:
        while True:
            try:
                batch = await self._ports.take()
            except EndOfStream:
                return
            await self._run(batch)

    async def _run(self, batch: Batch) -> None:
        rows = self._model.layout.rows or len(batch.frames)
        pieces = deque(_Piece(list(batch.frames[k : k + rows])) for k in range(0, len(batch.frames), rows))
        attempt = 0
        while pieces:
            piece = pieces.popleft()
            piece.frames = await self._still_leased(piece.frames)
            if not piece.frames:
                continue
            verdict = await self._call(piece, batch)
            if verdict is None:
                attempt = 0
                self._ports.waiting("")
            elif verdict.action is Action.RETRY:
                attempt += 1
                await self._pause(attempt, verdict)
                pieces.appendleft(piece)
            else:
                pieces.extendleft(reversed(await self._cut(piece, verdict)))

    async def _still_leased(self, frames: list[DecodedFrame]) -> list[DecodedFrame]:
        """Frames of partitions that moved on are fenced before they cost device time."""
        kept = [frame for frame in frames if frame.source.lease.open]
        if len(kept) < len(frames):
            lost = [fenced(frame.source) for frame in frames if not frame.source.lease.open]
            await self._ports.results.send_many(lost)
        return kept

    async def _pause(self, attempt: int, verdict: Verdict) -> None:
        self._ports.waiting(verdict.why)
        if attempt == 1 or attempt % 10 == 0:
            logger.warning("Predict on %s failed, trying again: %s", self._model.endpoint.server, verdict.why)
        # Not for secrets: jitter keeps several workers from asking a returning server all at once.
        await asyncio.sleep(self._backoff.delay_s(attempt, random.random()))  # noqa: S311  # jitter

    async def _cut(self, piece: _Piece, verdict: Verdict) -> list[_Piece]:
        """What is left to ask after a refusal; a frame refused twice alone is dead-lettered."""
        frames = piece.frames
        if verdict.action is Action.STOP:
            raise ModelError(f"the model server at {self._model.endpoint.server} refuses: {verdict.why}")
        if verdict.action is Action.SPLIT and len(frames) > 1:
            # One frame too large by itself teaches nothing: a limit of 1 for all would stay for good.
            limit = max(1, min(verdict.max_rows or len(frames) // 2, len(frames) - 1))
            self._ports.learn_limit(limit)
            logger.info("calls hold at most %d frames from now on: %s", limit, verdict.why)
            return [_Piece(frames[k : k + limit]) for k in range(0, len(frames), limit)]
        if len(frames) > 1:
            half = len(frames) // 2
            return [_Piece(frames[:half]), _Piece(frames[half:])]
        if not piece.alone_before:
            # A neighbour in the server's own batch may be the guilty one.
            return [_Piece(frames, alone_before=True)]
        await self._ports.results.send_many(
            [dead_letter(frames[0].source, Reason.MODEL_REJECTED, verdict.why)]
        )
        return []

    async def _call(self, piece: _Piece, batch: Batch) -> Verdict | None:
        """One Predict call; None where it was answered and passed on."""
        frames = piece.frames
        request = predict_request(self._settings.model, self._model.layout, [frame.row for frame in frames])
        started_s = time.monotonic()
        self._metrics.calls_in_flight.inc()
        try:
            reply = await self._model.endpoint.predict(request, self._settings.predict_timeout_ms / 1000)
            version, arrays = read_reply(reply)
            reading = await self._model.reading(version)
            places = self._model.places(frames)
            answers = read_answers(self._model.layout, arrays, len(frames), reading, places)
        except CallFailedError as error:
            self._metrics.predict_errors(error.code).inc()
            return decide(error.code, error.details)
        except (MisshapenReplyError, ValueError) as error:
            self._metrics.predict_errors("MISSHAPEN").inc()
            return Verdict(Action.BISECT, str(error))
        finally:
            self._metrics.calls_in_flight.dec()
        answered_s = time.monotonic()
        self._observe(len(frames), started_s, answered_s, version)
        predictions: list[Prediction | Rejected] = [
            Prediction(
                # Answers that wait for a slow frame before them must not keep their pixels.
                source=replace(frame, row=b""),
                answer=answer,
                version=version,
                predict_ms=(answered_s - started_s) * 1000,
                batch_size=len(frames),
                batch_reason=batch.reason,
                queue_ms=max(0.0, (started_s - frame.source.arrived_s) * 1000 - frame.decode_ms),
                answered_s=answered_s,
            )
            for frame, answer in zip(frames, answers, strict=True)
        ]
        await self._ports.results.send_many(predictions)
        return None

    def _observe(self, rows: int, started_s: float, answered_s: float, version: int) -> None:
        # With calls overlapping, the device began this one when it had answered the one before.
        self.fit.add(rows, answered_s - max(started_s, self._answered_s))
        self._answered_s = answered_s
        metrics = self._metrics
        metrics.predict.observe(answered_s - started_s)
        metrics.model_version.set(version)
        for _ in range(rows):
            metrics.stage[Stage.PREDICT].observe(answered_s - started_s)
