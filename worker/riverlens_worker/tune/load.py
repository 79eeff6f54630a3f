"""Frames on a schedule through the worker's own batcher, dispatch and predictor. Shell.

Open loop: a frame is due whatever became of the ones before, and its latency counts from then. So a server
that stalls is charged for every frame that was due meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from prometheus_client import CollectorRegistry

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.frame import Frame
from riverlens_worker.batcher import Batcher
from riverlens_worker.batching import Limits
from riverlens_worker.channel import Channel, EndOfStream, Signal
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.errors import ModelError
from riverlens_worker.messages import DecodedFrame, LeasedFrame, Prediction, Rejected
from riverlens_worker.metrics import Metrics
from riverlens_worker.model import ServedModel
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.predictor import Predictor, PredictorPorts
from riverlens_worker.target import Row
from riverlens_worker.tune.choice import Load
from riverlens_worker.tune.plan import Candidate

_UNBOUNDED = 1 << 60
_AT_ONCE = 1000
_STALLED_S = 15.0
_LEAD_S = 0.02
_P50, _P99 = 50, 99


@dataclass(frozen=True, slots=True)
class Schedule:
    """When frames are due.

    Attributes:
        at_s: seconds from the start, rising.
        warm_up_s: frames due before are not counted.
        give_up_s: a frame that waits longer ends the run: the load was not carried.
    """

    at_s: Sequence[float]
    warm_up_s: float
    give_up_s: float


class Line:
    """The worker's parts between decoding and publishing, with one candidate's settings.

    Raises, from `run`:
        RiverlensError: the model server went away, or refuses.
    """

    def __init__(self, model: ServedModel, candidate: Candidate, rows: Sequence[Row]) -> None:
        chosen = {
            "max_batch_size": candidate.rows,
            "max_in_flight_calls": candidate.calls,
            "dispatch": candidate.dispatch,
            # Whatever is late must be seen, not dropped.
            "freshness": (),
        }
        settings = model.settings.model_copy(update=chosen)
        metrics = Metrics(CollectorRegistry())
        self._images = rows
        self._decoded: Channel[DecodedFrame] = Channel(_UNBOUNDED)
        self._results: Channel[Prediction | Rejected] = Channel(_UNBOUNDED)
        self._endpoints = Endpoints(settings, metrics)
        self._model = replace(model, endpoint=self._endpoints, settings=settings)
        limits = Limits(model.layout.rows or candidate.rows, settings.max_batch_bytes)
        self._batcher = Batcher(self._decoded, limits, metrics)
        batcher = self._batcher
        asked = batcher.take, batcher.take_now, batcher.full, batcher.until_full
        ports = PredictorPorts(*asked, self._results, batcher.limit, self._waits)
        self._predictor = Predictor(ports, self._endpoints, self._model, metrics)
        self._lease = PartitionLease("tune", 0)
        self._due_s: list[float] = []
        self._answers: list[tuple[int, float, int]] = []
        self._first = 0
        self._changed = Signal()
        self._why = ""
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._endpoints.wait_available(self._waits)
        self._working = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._working is not None:
            self._working.cancel()
            # Its error, if any, was raised by `run`.
            await asyncio.gather(self._working, return_exceptions=True)
        await self._endpoints.close()

    async def run(self, schedule: Schedule) -> Load:
        """One load, from an idle server to the last answer."""
        self._first += len(self._due_s)
        self._answers, cpu_s, began_s = [], time.process_time(), time.monotonic()
        self._due_s = [began_s + _LEAD_S + at_s for at_s in schedule.at_s]
        feeding = asyncio.create_task(self._feed(schedule.give_up_s))
        assert self._working is not None  # noqa: S101  # entered
        await asyncio.wait({feeding, self._working}, return_when=asyncio.FIRST_COMPLETED)
        self._check()
        late_s = await feeding
        cpu = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        sent = len(self._due_s)
        while len(self._answers) < sent:
            before = len(self._answers)
            try:
                async with asyncio.timeout(_STALLED_S):
                    await self._changed.until(lambda n=before: len(self._answers) > n)  # type: ignore[misc]  # a default
            except TimeoutError:
                why = self._why or f"no answer for {_STALLED_S:.0f} s"
                raise UnreachableError(
                    f"the model server at {self._server} stopped answering: {why}"
                ) from None
            finally:
                self._check()
        return self._load(schedule, late_s, cpu)

    @property
    def _server(self) -> str:
        return self._model.settings.server

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read())
                group.create_task(self._batcher.run())
                await self._predictor.run()
                reading.cancel()
        finally:
            self._changed.fire()

    def _check(self) -> None:
        """Raise what ended the worker's parts."""
        if self._working is None or not self._working.done():
            return
        error = self._working.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, RiverlensError):
            raise error
        if error is not None:
            raise error

    async def _feed(self, give_up_s: float) -> float:
        """Send each frame when it is due; the longest that this lagged behind, in seconds."""
        due, late_s, sent = self._due_s, 0.0, 0
        while sent < len(due):
            now_s = time.monotonic()
            if now_s < due[sent]:
                await asyncio.sleep(due[sent] - now_s)
                continue
            late_s = max(late_s, now_s - due[sent])
            end = sent
            while end < len(due) and due[end] <= now_s:
                end += 1
            await self._decoded.send_many([self._frame(number) for number in range(sent, end)])
            sent = end
            answered = len(self._answers)
            if answered < sent and now_s - due[answered] > give_up_s:
                del due[sent:]
        return late_s

    def _frame(self, number: int) -> DecodedFrame:
        row, due_s = self._images[number % len(self._images)], self._due_s[number]
        offset = self._first + number
        frame = Frame("tune", b"", 0)
        source = LeasedFrame(self._lease, offset, offset, frame, None, (), False, row.nbytes, due_s, 0.0)
        return DecodedFrame(source, row.row, row.shape, row.nbytes, row.size, 0.0, due_s, row.reencoded)

    async def _read(self) -> None:
        while True:
            try:
                results = await self._results.receive_many(_AT_ONCE)
            except EndOfStream:
                return
            for result in results:
                if isinstance(result, Rejected):
                    raise ModelError(
                        f"the model server at {self._server} refuses an image ({result.reason}):"
                        f" {result.detail}; see --images"
                    )
                number = result.source.source.offset - self._first
                self._answers.append((number, result.answered_s, result.batch_size))
            self._changed.fire()

    def _load(self, schedule: Schedule, late_s: float, cpu: float) -> Load:
        planned, due = len(schedule.at_s), self._due_s
        counted = [
            one for one in self._answers if schedule.at_s[one[0]] >= schedule.warm_up_s
        ] or self._answers
        latencies = sorted(answered_s - due[number] for number, answered_s, _ in counted)
        passed_s = schedule.at_s[-1] - schedule.at_s[0]
        return Load(
            per_s=planned / passed_s if passed_s else float(planned),
            answered=len(due) / planned,
            p50_ms=_percentile(latencies, _P50) * 1000,
            p99_ms=_percentile(latencies, _P99) * 1000,
            # Each call is counted once, not once a frame.
            mean_rows=len(counted) / sum(1 / size for _, _, size in counted),
            late_ms=late_s * 1000,
            cpu=cpu,
        )

    def _waits(self, why: str) -> None:
        self._why = why


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
