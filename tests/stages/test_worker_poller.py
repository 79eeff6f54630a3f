"""The poller on a consumer made here: the terms of each fetch, and what is taken in."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from prometheus_client import CollectorRegistry

from riverlens_worker.fetch_pace import ORDINARY, Demand
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import LeasedFrame, Outcome, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import StallGuard
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.poller import Poller
from riverlens_worker.source.state import SourceState
from tests.worker_parts import FakeRecord

PARTITION = TopicPartition("frames", 0)
BUSY, IDLE = Demand(0.08, 8), Demand(0.0, 8)


class Consumer:
    """Polls as scripted, each told its timeout; notes the terms that a fetch would have had.

    Attributes:
        polls: (timeout in ms, longest hold in ms, least bytes) of each poll.
    """

    def __init__(self, poll: Callable[[], Awaitable[dict[TopicPartition, list[Any]]]]) -> None:
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=0, _fetch_min_bytes=0, _prefetch_backoff=0.0)
        self._poll = poll
        self.polls: list[tuple[int, int, int]] = []

    @property
    def terms(self) -> tuple[int, int]:
        """Of a fetch that would begin now: hold in ms, bytes."""
        return self._fetcher._fetch_max_wait_ms, self._fetcher._fetch_min_bytes

    @property
    def unread_s(self) -> float:
        """How long a fetch would have waited for what was fetched and not read."""
        return float(self._fetcher._prefetch_backoff)

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int = 0) -> Any:
        """The next answer."""
        assert max_records
        self.polls.append((timeout_ms, *self.terms))
        return await self._poll()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Nothing to do."""

    def highwater(self, _: TopicPartition) -> int:
        """Everything is read."""
        return 0


def _record(offset: int) -> Any:
    """A Kafka record at an offset."""
    parts = FakeRecord()
    fields = {name: getattr(parts, name) for name in ("value", "key", "partition", "timestamp", "headers")}
    return SimpleNamespace(offset=offset, **fields)


async def _nothing() -> dict[TopicPartition, list[Any]]:
    return {}


def _state(consumer: Consumer, demand: Demand, frames: int = 8) -> SourceState:
    """A source's state with one lease, from offset 0."""
    state = SourceState(
        settings=WorkerSettings(),
        metrics=Metrics(CollectorRegistry()),
        consumer=consumer,
        leases=LeaseTable("frames", Room(frames, 1 << 20, 1 << 20)),
        guard=StallGuard(session_timeout_s=6, heartbeat_s=1, now_s=time.monotonic()),
        group=SimpleNamespace(),  # type: ignore[arg-type]  # nothing is asked of it here
        demand=lambda: demand,
    )
    state.leases.assign(0, 0)
    return state


async def test_no_poll_outlasts_the_hold_of_its_fetch() -> None:
    """A hold that ends with nothing is followed by a fetch of aiokafka's own: it must find new terms."""
    consumer = Consumer(_nothing)
    poller = Poller(_state(consumer, BUSY))
    await poller._poll_once()
    ((timeout_ms, hold_ms, _),) = consumer.polls
    assert 0 < timeout_ms <= hold_ms < 80


async def test_an_idle_devices_first_frame_is_answered_at_once() -> None:
    """Ordinary terms, and the group hears of the poll often enough."""
    consumer = Consumer(_nothing)
    await Poller(_state(consumer, IDLE))._poll_once()
    assert consumer.polls == [(100, ORDINARY.hold_ms, ORDINARY.least_bytes)]


async def test_terms_do_not_grow_old_while_nobody_has_room() -> None:
    """The fetch that follows the one that filled the room begins under the terms of now."""

    async def full() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(0), _record(1)]}

    consumer = Consumer(full)
    state = _state(consumer, BUSY, frames=2)
    poller = Poller(state)
    await poller._poll_once()
    assert consumer.terms[0] < 80
    state.demand = lambda: IDLE
    await poller._poll_once()
    assert len(consumer.polls) == 1, "asked for frames without room"
    assert consumer.terms == (50, ORDINARY.least_bytes)


async def test_what_was_fetched_without_room_for_it_hardly_delays_the_others() -> None:
    """While all have room, one fetch asks for all; else it does not wait for the one that has none."""

    async def one() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(0)]}

    consumer = Consumer(one)
    state = _state(consumer, IDLE, frames=1)
    state.leases.assign(1, 0)
    poller = Poller(state)
    await poller._poll_once()
    roomy_s = consumer.unread_s
    await poller._poll_once()
    assert roomy_s >= 0.1
    assert consumer.unread_s <= 0.01
    # Nor does it wait for the others' fetch much longer than it has room again.
    assert consumer.terms[0] <= 50


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (Fetcher._get_actions_per_node, "_fetch_max_wait_ms"),
        (Fetcher._get_actions_per_node, "_fetch_min_bytes"),
        (Fetcher._proc_fetch_request, "_prefetch_backoff"),
    ],
)
def test_aiokafka_reads_its_terms_at_each_fetch(reader: Callable[..., Any], name: str) -> None:
    """The poller sets them between two fetches; under another name that would do nothing."""
    assert f"self.{name}" in inspect.getsource(reader)


async def test_looking_for_a_broken_record_holds_no_fetch() -> None:
    """Record by record is many fetches: held, each would take as long as a call."""
    answers: Iterator[ValueError | dict[TopicPartition, list[Any]]] = iter(
        [
            ValueError("broken"),
            ValueError("broken"),
            {PARTITION: [_record(0)]},
            ValueError("broken"),
            {PARTITION: [_record(2)]},
        ]
    )

    async def broken() -> dict[TopicPartition, list[Any]]:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    consumer = Consumer(broken)
    state = _state(consumer, BUSY)
    await Poller(state)._poll_or_isolate()
    assert [each.partition for each in state.leases] == [0]
    assert state.leases.get(0).next_offset == 3  # type: ignore[union-attr]  # it was just there
    held, *alone = consumer.polls
    assert held[1] < 80
    assert {poll[1:] for poll in alone} == {(ORDINARY.hold_ms, ORDINARY.least_bytes)}
    assert len(alone) == 4


@pytest.mark.parametrize("ended", [False, True], ids=["reading", "ended"])
async def test_nothing_is_taken_in_after_the_end(ended: bool) -> None:  # noqa: FBT001  # a table of two
    """What waited was given up then: a frame behind it could never be published, nor settled."""
    state: SourceState

    async def late() -> dict[TopicPartition, list[Any]]:
        state.ended = ended
        return {PARTITION: [_record(0)]}

    state = _state(Consumer(late), IDLE)
    await Poller(state)._poll_once()
    assert len(state.admission) == (not ended)


async def test_a_lease_that_gave_all_back_is_read_again() -> None:
    """Whatever the order of settling, who waits for room is woken by the time a quarter of it is free."""

    async def full() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(offset) for offset in range(8)]}

    state = _state(Consumer(full), IDLE)
    await Poller(state)._poll_once()
    (lease,) = state.leases
    assert not state.leases.has_room(lease)
    waiting = asyncio.create_task(state.changed.until(lambda: state.leases.has_room(lease)))
    for settled, frame in enumerate(reversed(state.take(8))):
        assert isinstance(frame, LeasedFrame)
        await _settled()
        assert waiting.done() == state.leases.has_room(lease) == (settled > 2)
        state.settle(Settled(frame, Outcome.DROPPED, "stale"))
    assert (lease.frames, lease.bytes_held, lease.full) == (0, 0, False)


async def _settled() -> None:
    """Whoever was woken has looked."""
    for _ in range(5):
        await asyncio.sleep(0)
