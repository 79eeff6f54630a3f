"""A lane on a producer made here: what it does where others publish, or a producer fails, in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from riverlens_worker.messages import Outcome, Settled
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher import lane as lane_module
from riverlens_worker.publisher.lane import Lane, LanePorts
from riverlens_worker.publisher.outbox import Outgoing
from riverlens_worker.settings import WorkerSettings
from tests.harness.transactional import Log, Producer
from tests.worker_parts import leased


def entry(lease: PartitionLease, offset: int) -> Outgoing:
    """An event whose value is its frame's offset."""
    settled = Settled(leased(lease, offset), Outcome.PUBLISHED)
    return Outgoing("detections", 0, b"lobby", b"%d" % offset, (), settled, 0, 0)


def _offsets(log: Log) -> list[int]:
    return [int(value) for _, value in log.published]


@asynccontextmanager
async def running(
    log: Log, first: Producer, committed: Callable[[int], Awaitable[int | None]], told: list[int]
) -> AsyncIterator[Lane]:
    """A lane at work; a new producer of its works."""

    async def new_producer(_: int) -> Producer:
        log.made += 1
        return Producer(log)

    async def is_member() -> bool:
        return True

    ports = LanePorts(
        lambda records: told.extend(outgoing.settled.source.offset for outgoing in records),
        lambda settled: told.extend(each.source.offset for each in settled),
        is_member,
        committed,
        new_producer,
    )
    lane = Lane(PartitionLease("frames", 0), first, ports, WorkerSettings(transaction_interval_ms=10))
    task = asyncio.create_task(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(producer: Producer, *, grace_s: float) -> None:
        assert grace_s == 0
        await producer._log.end(producer, grace_s=grace_s)

    monkeypatch.setattr(lane_module, "end_client", end)


async def until_told(lane: Lane, told: list[int], count: int) -> None:
    """Wait until so many entries are done with."""
    async with asyncio.timeout(30):
        await lane.changed.until(lambda: len(told) >= count)


async def test_what_a_former_owner_published_meanwhile_is_not_published_again() -> None:
    """The committed offset rules entries that come after the recovery as it rules those before."""
    log, told = Log(), list[int]()

    async def committed(_: int) -> int | None:
        return max(5, log.committed or 0)

    async with running(log, Producer(log, ProducerFenced()), committed, told) as lane:
        for offset in range(2):
            lane.add(entry(lane.lease, offset))
        await until_told(lane, told, 2)
        for offset in range(2, 8):
            lane.add(entry(lane.lease, offset))
        await until_told(lane, told, 8)
    assert _offsets(log) == [5, 6, 7]
    assert (told, log.committed) == (list(range(8)), 8)


async def test_an_error_in_mid_burst_ends_the_producer_not_the_worker() -> None:
    """A send after a failed one raises IllegalOperation, which is no KafkaError: all is sent again."""
    log, told = Log(), list[int]()

    async def committed(_: int) -> int | None:
        return log.committed

    async with running(log, Producer(log, fails_send=True), committed, told) as lane:
        for offset in range(3):
            lane.add(entry(lane.lease, offset))
        await until_told(lane, told, 3)
    assert _offsets(log) == [0, 1, 2]


async def test_a_recovery_that_fails_half_way_leaves_no_producer_behind() -> None:
    """A producer whose partition's committed offset could not be read is ended before the next is made."""
    log, told, asked = Log(), list[int](), 0

    async def committed(_: int) -> int | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise KafkaConnectionError
        return log.committed

    async with running(log, Producer(log, ProducerFenced()), committed, told) as lane:
        lane.add(entry(lane.lease, 0))
        await until_told(lane, told, 1)
    assert (log.made, len(log.ended)) == (2, 2)
    assert _offsets(log) == [0]
