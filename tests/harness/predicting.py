"""A predictor between a test's frames and its results: the real stage and endpoints, no Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from riverlens_worker.batcher import Batcher
from riverlens_worker.batching import Limits
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.messages import DecodedFrame, Outcome, Prediction, Rejected
from riverlens_worker.metrics import Metrics
from riverlens_worker.model import ServedModel
from riverlens_worker.predictor import Predictor, PredictorPorts
from riverlens_worker.settings import WorkerSettings
from tests.harness.scripted_server import model_of
from tests.harness.waiting import wait_for
from tests.worker_parts import decoded


class Line:
    """Frames in, results out.

    Attributes:
        answered: offsets of frames that were answered, as they came.
        versions: model version by offset.
        dead: reason of each dead letter by offset.
        dropped: reason of each drop by offset, where the settings have freshness policies.
        why: what /readyz would say.
        spared_rows: of a full call, as beside a backlog; None: there is none.
    """

    def __init__(self, settings: WorkerSettings, **endpoints: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.settings = settings
        self.endpoints = Endpoints(settings, self.metrics, **endpoints)
        self.rows: Channel[DecodedFrame] = Channel(10_000)
        self.results: Channel[Prediction | Rejected] = Channel(100)
        self.answered: list[int] = []
        self.versions: dict[int, int] = {}
        self.dead: dict[int, str] = {}
        self.dropped: dict[int, str] = {}
        self.why = ""
        self.spared_rows: int | None = None
        self.sent = 0

    async def run(self, model: ServedModel) -> None:
        """All stages, until the rows end."""
        policies = self.settings.policies
        freshness = policies if policies.asks else None
        limits, pass_by = Limits(self.settings.max_batch_size, 1 << 26), self.results.put_many
        batcher = Batcher(self.rows, limits, self.metrics, freshness, pass_by, spared=self._spared)
        ports = PredictorPorts(
            batcher.take,
            batcher.take_now,
            batcher.full,
            batcher.until_full,
            self.results,
            batcher.limit,
            self._waiting,
            freshness,
        )
        predictor = self.predictor = Predictor(ports, self.endpoints, model, self.metrics)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(batcher.run())
            await predictor.run()
            self.results.close()

    def _spared(self, most: int) -> int:
        return self.spared_rows or most

    def _waiting(self, why: str) -> None:
        self.why = why

    async def _read(self) -> None:
        while True:
            try:
                results = await self.results.receive_many(1000)
            except EndOfStream:
                return
            for result in results:
                if isinstance(result, Prediction):
                    self.answered.append(result.source.source.offset)
                    self.versions[result.source.source.offset] = result.version
                else:
                    assert result.outcome in (Outcome.DEAD_LETTERED, Outcome.DROPPED)
                    by_offset = self.dead if result.outcome is Outcome.DEAD_LETTERED else self.dropped
                    by_offset[result.source.offset] = result.reason

    async def send(self, images: list[bytes]) -> None:
        """Frames of rising offsets."""
        rows = [
            decoded(self.sent + n, row=image, ready_s=float(self.sent + n)) for n, image in enumerate(images)
        ]
        self.sent += len(rows)
        await self.rows.send_many(rows)

    async def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait for a state."""

        async def asked() -> bool:
            return condition()

        await wait_for(asked, what=what, timeout_s=timeout_s)

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 where there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def check(self) -> None:
        """Each frame sent has exactly one outcome."""
        assert sorted([*self.answered, *self.dead, *self.dropped]) == list(range(self.sent))


@asynccontextmanager
async def predicting(
    settings: WorkerSettings, find: Callable[[Endpoints], Any] | None = None, **endpoints: Any
) -> AsyncIterator[Line]:
    """A running line; at the end its input is closed and everything settles. `find`: discovers a model."""
    line = Line(settings, **endpoints)
    try:
        await line.endpoints.wait_available(line._waiting)
        model = model_of(settings, line.endpoints) if find is None else await find(line.endpoints)
        running = asyncio.create_task(line.run(model))
        try:
            yield line
            line.rows.close()
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    finally:
        await line.endpoints.close()
