"""The worker's stages as the pipeline joins them; Kafka and the model server are in the test's hands."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from riverlens_worker.messages import Answer, Batch, Outcome, Prediction, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.model import ServedModel
from riverlens_worker.pieces import Piece, sift
from riverlens_worker.pipeline import Pipeline
from riverlens_worker.publisher.outbox import Entry, Outgoing
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.target import Target
from tests.harness.scripted_server import LAYOUT
from tests.harness.waiting import wait_for
from tests.worker_parts import FakeRecord


class Kafka:
    """Takes commits and records at once.

    Attributes:
        commits: offset by partition.
        published: offsets of events by partition, as they came.
    """

    def __init__(
        self, acknowledged: Callable[[Sequence[Outgoing]], None], settle: Callable[[Sequence[Settled]], None]
    ) -> None:
        self._acknowledged = acknowledged
        self._settle = settle
        self.commits: dict[int, int] = {}
        self.published: dict[int, list[int]] = defaultdict(list)

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """As the consumer."""
        self.commits |= {tp.partition: offset for tp, offset in offsets.items()}

    def highwater(self, _: TopicPartition) -> None:
        """Nobody knows the end."""

    async def start(self) -> None:
        """Nothing to connect."""

    async def run(self) -> None:
        """Nothing fails."""
        await asyncio.Event().wait()

    async def deliver(self, entries: Sequence[Entry]) -> None:
        """As the publisher's delivery."""
        for entry in entries:
            if isinstance(entry, Settled):
                self._settle([entry])
                continue
            if entry.is_event:
                self.published[entry.partition].append(entry.settled.source.offset)
            self._acknowledged([entry])

    def waiting(self) -> int:
        """All is acknowledged."""
        return 0

    async def flush(self) -> None:
        """All is acknowledged."""

    async def take_over(self, partitions: Iterable[int]) -> None:
        """Nothing to do."""

    def release(self, partitions: Iterable[int]) -> None:
        """Nothing to do."""

    async def stop(self, timeout_s: float = 0.0) -> None:
        """Nothing to end."""


class Assembled:
    """All stages but the poll loop and the calls: frames in by `put`, batches out by `take`."""

    def __init__(self, settings: WorkerSettings, target: Target) -> None:
        self.settings = settings
        self.metrics = Metrics(CollectorRegistry())
        self.pipeline = Pipeline(settings, self.metrics)
        self.source, self.state = self.pipeline._source, self.pipeline._source._state
        model = ServedModel(None, settings, LAYOUT, target, own_labels={}, tells_info=False)  # type: ignore[arg-type]  # nobody asks it
        self.stages = self.pipeline._assemble(model)
        self.answered = 0

    async def run(self) -> None:
        """The stages between, until cancelled."""
        publisher: Any = self.pipeline._publisher
        await self.state.consumer.stop()
        self.kafka = Kafka(publisher._acknowledged, self.source.settle)
        self.state.consumer = self.kafka
        publisher._delivery = self.kafka
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pipeline._references.run())
            group.create_task(self.stages.decode_pool.run())
            group.create_task(self.stages.batcher.run())
            group.create_task(publisher.run())

    def put(
        self, partition: int, images: Sequence[bytes], *, camera: str = "", age_s: float = 0.0, **headers: str
    ) -> None:
        """Records of one partition, as a poll gives them; its lease is opened where it has none."""
        key = camera or f"camera-{partition}"
        lease = self.state.leases.get(partition) or self.state.leases.assign(partition, 0)
        captured_ms = round((time.time() - age_s) * 1000)
        told = tuple((name.replace("_", "-"), value.encode()) for name, value in headers.items())
        records = []
        for offset, image in enumerate(images, lease.next_offset or 0):
            parts = FakeRecord(image, key.encode(), partition, captured_ms, told)
            fields = {name: getattr(parts, name) for name in parts.__dataclass_fields__}
            records.append(SimpleNamespace(offset=offset, **fields))
        self.source._poller._intake.take_in({TopicPartition(lease.topic, partition): records})

    def ahead(self) -> dict[int, int]:
        """Frames that were taken and are in no call yet, by partition."""
        return {lease.partition: len(taken) for lease, taken in self.state.admission._ahead._taken.items()}

    async def settled(self) -> None:
        """Wait until all that may be taken is, and is a row."""
        pool = self.stages.decode_pool
        await self.until(lambda: not self.source.takeable and not pool.held, "all are rows")

    async def take(self) -> Batch:
        """The next batch."""
        async with asyncio.timeout(30):
            return await self.stages.batcher.take()

    async def answer(self, batch: Batch) -> Counter[int]:
        """Answer a batch but for what is fenced or stale by now; rows by partition."""
        piece = Piece(list(batch.frames), batch.reason)
        gone = sift(piece, self.pipeline._freshness, time.monotonic())
        answers = [
            Prediction(frame, Answer(outputs={}), 1, 1.0, len(batch.frames), batch.reason, 1.0, 0.0)
            for frame in piece.frames
        ]
        await self.pipeline._results.send_many([*gone, *answers])
        return Counter(frame.source.lease.partition for frame in batch.frames)

    async def serve(self) -> None:
        """Answer every batch, until cancelled."""
        while True:
            await self.answer(await self.stages.batcher.take())

    async def drained(self) -> None:
        """Answer all there is, until every frame has its outcome; nothing may be left held by then."""
        serving = asyncio.create_task(self.serve())
        try:
            await self.until(lambda: not self.metrics.balance()["in_flight"], "all frames have an outcome")
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        assert self.ahead() == {}
        assert len(self.state.admission) == self.stages.batcher.waiting == 0
        for lease in self.state.leases:
            assert (lease.frames, lease.bytes_held, lease.full, len(lease.ledger)) == (0, 0, False, 0)

    def outcomes(self) -> dict[str, int]:
        """How many frames had each outcome; every frame read has one."""
        counts = self.metrics.balance()
        consumed = counts.pop("consumed")
        assert consumed == sum(counts.values())
        return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a state."""

        async def asked() -> bool:
            return condition()

        await wait_for(asked, what=what)


@asynccontextmanager
async def assembled(settings: WorkerSettings, target: Target) -> AsyncIterator[Assembled]:
    """A running line; at the end it is cancelled as by a hard stop."""
    line = Assembled(settings, target)
    running = asyncio.create_task(line.run())
    try:
        await line.until(lambda: hasattr(line, "kafka"), "the line runs")
        yield line
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await line.pipeline.close()
