"""Only changes are events, and delivering them fails: what is remembered is what readers were told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError, ProducerFenced
from prometheus_client import CollectorRegistry

from riverlens.event import Detection
from riverlens_worker import publisher as publisher_module
from riverlens_worker.channel import Channel
from riverlens_worker.messages import Answer, BatchReason, Outcome, Prediction, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.publisher import Publisher, PublisherPorts, Result, lane, sender, transactions
from riverlens_worker.settings import WorkerSettings
from tests.harness.transactional import Log, Producer
from tests.worker_parts import decoded, leased

CAR = Detection("car", 3, 0.9, (0.1, 0.1, 0.2, 0.9))
CARS = (0, 0, 1, 1, 1, 2, 2, 0, 0)
"""How many cars each frame shows."""
CHANGES = [0, 2, 5, 7]
EVENTS, DEAD_LETTERS = "detections", "frames.dlq"


@dataclass
class Worker:
    """A publisher at work, and what it is asked for."""

    log: Log
    publisher: Publisher
    results: Channel[Result]
    settled: list[Settled] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, lease: PartitionLease, first: int, *cars: int) -> None:
        """Answers for the frames from offset `first` on."""
        await self.results.send_many([_answered(lease, first + n, count) for n, count in enumerate(cars)])

    async def until(self, there: Callable[[], bool]) -> None:
        """Wait for a state that a settled frame brings."""
        async with asyncio.timeout(30):
            while not there():
                self.told.clear()
                await self.told.wait()


def _answered(lease: PartitionLease, offset: int, cars: int) -> Prediction:
    row = replace(decoded(offset), source=leased(lease, offset))
    return Prediction(row, Answer(detections=[CAR] * cars), 1, 1.0, 1, BatchReason.FULL, 1.0, 1.0)


def _told(log: Log, topic: str = EVENTS) -> list[int]:
    """Offsets of the frames that readers were told of."""
    values = [value for where, value in log.published if where == topic]
    return [json.loads(value)["source"]["offset"] for value in values]


async def _nothing(*_: Any) -> None:
    """The topics are there, and publishing is allowed."""


async def _member() -> bool:
    return True


def _made_here(monkeypatch: pytest.MonkeyPatch, log: Log, failing: list[Producer]) -> None:
    """Producers are the log's: first those that fail."""
    for module in (lane, sender, transactions):
        monkeypatch.setattr(module, "end_client", log.end)
    for module in (sender, transactions):
        monkeypatch.setattr(
            module, "AIOKafkaProducer", lambda **_: failing.pop(0) if failing else Producer(log)
        )
    monkeypatch.setattr(sender, "silence", lambda _: None)
    monkeypatch.setattr(publisher_module, "see_topics", _nothing)


def _worker(log: Log, delivery: str) -> Worker:
    async def committed(_: int) -> int | None:
        return log.committed

    def settle(settled: Sequence[Settled]) -> None:
        worker.settled.extend(settled)
        for each in settled:
            each.source.lease.ledger.settle(each.source.offset)
        worker.told.set()

    settings = WorkerSettings(events="changes", delivery=delivery, transaction_interval_ms=10)
    results: Channel[Result] = Channel(100)
    ports = PublisherPorts(results, settle, _nothing, _member, committed)
    worker = Worker(log, Publisher(ports, settings, Metrics(CollectorRegistry())), results)
    return worker


@asynccontextmanager
async def _working(
    monkeypatch: pytest.MonkeyPatch, log: Log, delivery: str, *failing: Producer
) -> AsyncIterator[Worker]:
    """A publisher whose first producers are those that fail; it holds partition 0."""
    _made_here(monkeypatch, log, list(failing))
    worker = _worker(log, delivery)
    await worker.publisher.start()
    await worker.publisher.take_over([0])
    running = asyncio.create_task(worker.publisher.run())
    try:
        yield worker
        worker.results.close()
        async with asyncio.timeout(30):
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.publisher.close(1)


@pytest.mark.parametrize("late", [False, True], ids=["aborted", "nobody knows"])
async def test_a_transaction_that_failed_changes_nothing_of_what_is_an_event(
    monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """What it held was chosen before and is sent again as it was: each change once, none forgotten."""
    log, lease = Log(), PartitionLease("frames", 0)
    failing = [Producer(log, ProducerFenced(), fails_late=late) for _ in range(2)]
    async with _working(monkeypatch, log, "exactly-once", *failing) as worker:
        for offset, cars in enumerate(CARS):
            await worker.send(lease, offset, cars)
        await worker.until(lambda: len(worker.settled) == len(CARS))
        assert log.ended, "a transaction has failed"
    assert _told(log) == CHANGES
    outcomes = [each.outcome for each in worker.settled]
    assert [n for n, outcome in enumerate(outcomes) if outcome is Outcome.PUBLISHED] == CHANGES
    assert log.committed == len(CARS)


async def test_after_an_abort_the_next_owner_begins_with_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ends with its transaction takes what was remembered with it: nothing of it was told."""
    log, lost = Log(), PartitionLease("frames", 0)
    async with _working(monkeypatch, log, "exactly-once", Producer(log, ProducerFenced())) as worker:
        publisher = worker.publisher

        async def lose(producer: Producer, *, grace_s: float) -> None:
            """The partition goes while the failed transaction's producer is ended."""
            await log.end(producer, grace_s=grace_s)
            lost.state = LeaseState.FENCED

        monkeypatch.setattr(lane, "end_client", lose)
        await worker.send(lost, 0, 1, 1)
        await worker.until(lambda: len(worker.settled) == 2)
        assert not log.published
        monkeypatch.setattr(lane, "end_client", log.end)
        publisher.release([0])
        await publisher.take_over([0])
        await worker.send(PartitionLease("frames", 0), 0, 1, 1, 1, 2)
        await worker.until(lambda: len(worker.settled) == 6)
    assert _told(log) == [0, 3]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_a_change_that_kafka_refused_is_told_by_the_next_frame(
    monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    """Its event became a dead letter, which nobody reads for what a camera shows."""

    def refuses(topic: str, value: bytes) -> BaseException | None:
        refused = topic == EVENTS and json.loads(value)["source"]["offset"] == 2
        return InvalidTimestampError() if refused else None

    log, lease = Log(refuses=refuses), PartitionLease("frames", 0)
    async with _working(monkeypatch, log, delivery) as worker:
        await worker.send(lease, 0, 0, 0, 1)
        await worker.until(lambda: len(worker.settled) == 3)
        await worker.send(lease, 3, 1, 1, 0)
        await worker.until(lambda: len(worker.settled) == 6)
    assert _told(log) == [0, 3, 5]
    assert [topic for topic, _ in log.published].count(DEAD_LETTERS) == 1
    outcomes = [each.outcome for each in sorted(worker.settled, key=lambda each: each.source.offset)]
    assert outcomes[2] is Outcome.DEAD_LETTERED
