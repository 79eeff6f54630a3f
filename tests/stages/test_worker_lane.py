"""A lane on a producer made here: what it does where others publish, or a producer fails, in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaConnectionError, ProducerFenced

from riverlens_worker.messages import Outcome, Settled
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher import lane as lane_module
from riverlens_worker.publisher.lane import Lane, LanePorts
from riverlens_worker.publisher.outbox import Outgoing
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import leased


@dataclass
class Log:
    """What reached readers, in order, and the group's committed offset."""

    published: list[int] = field(default_factory=list)
    committed: int | None = None
    made: int = 0
    ended: list[Producer] = field(default_factory=list)


class Producer:
    """Transactions on a `Log`; `fails` is raised by the next commit, before it has an effect."""

    def __init__(self, log: Log, fails: BaseException | None = None, *, fails_send: bool = False) -> None:
        self._log, self._fails, self._fails_send = log, fails, fails_send
        self._open: list[int] = []
        self._offset = 0
        self._txn_manager = SimpleNamespace(_transaction_waiter=None)

    async def begin_transaction(self) -> None:
        """Nothing is sent yet."""
        self._open = []

    async def partitions_for(self, _: str) -> set[int]:
        """One partition each."""
        return {0}

    async def send(self, _: str, value: bytes, **__: Any) -> asyncio.Future[object]:
        """Acknowledged at once."""
        if self._fails_send and self._open:
            raise IllegalOperation
        self._open.append(int(value))
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(object())
        return done

    async def send_offsets_to_transaction(self, offsets: dict[Any, Any], _: str) -> None:
        """Of the one partition."""
        (self._offset,) = (each.offset for each in offsets.values())

    async def commit_transaction(self) -> None:
        """All or nothing."""
        if self._fails is not None:
            raise self._fails
        self._log.published += self._open
        self._log.committed = self._offset


def entry(lease: PartitionLease, offset: int) -> Outgoing:
    """An event whose value is its frame's offset."""
    settled = Settled(leased(lease, offset), Outcome.PUBLISHED)
    return Outgoing("detections", 0, b"lobby", b"%d" % offset, (), settled, 0, 0)


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
        lambda outgoing: told.append(outgoing.settled.source.offset),
        lambda settled: told.append(settled.source.offset),
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
        if producer not in producer._log.ended:
            producer._log.ended.append(producer)

    monkeypatch.setattr(lane_module, "end_client", end)


async def until_told(lane: Lane, told: list[int], count: int) -> None:
    """Wait until so many entries are done with."""
    async with asyncio.timeout(5):
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
    assert log.published == [5, 6, 7]
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
    assert log.published == [0, 1, 2]


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
    assert log.published == [0]
