"""The poller on a consumer made here: the terms of its fetches, and what is taken in."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from prometheus_client import CollectorRegistry

from riverlens_worker.fetch_pace import CROWDED, ORDINARY, Terms
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import LeasedFrame, Outcome, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import LeaseState, StallGuard
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.fetch_gate import FetchGate
from riverlens_worker.source.poller import Poller
from riverlens_worker.source.state import SourceState
from tests.worker_parts import FakeRecord

PARTITION = TopicPartition("frames", 0)


class Consumer:
    """Polls as scripted, each told its timeout; notes the terms that a fetch would have had.

    Attributes:
        polls: timeout in ms of each poll, and the terms of a fetch that would begin then.
    """

    def __init__(self, poll: Callable[[], Awaitable[dict[TopicPartition, list[Any]]]]) -> None:
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=0, _prefetch_backoff=0.0)
        self._poll = poll
        self.polls: list[tuple[int, Terms]] = []

    @property
    def terms(self) -> Terms:
        """Of a fetch that would begin now."""
        return Terms(self._fetcher._fetch_max_wait_ms, self._fetcher._prefetch_backoff)

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int = 0) -> Any:
        """The next answer."""
        assert max_records
        self.polls.append((timeout_ms, self.terms))
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


def _state(consumer: Consumer, frames: int = 8) -> SourceState:
    """A source's state with one lease, from offset 0."""
    state = SourceState(
        settings=WorkerSettings(),
        metrics=Metrics(CollectorRegistry()),
        consumer=consumer,
        leases=LeaseTable("frames", Room(frames, 1 << 20, 1 << 20)),
        guard=StallGuard(session_timeout_s=6, heartbeat_s=1, now_s=time.monotonic()),
        group=SimpleNamespace(),  # type: ignore[arg-type]  # nothing is asked of it here
    )
    state.leases.assign(0, 0)
    return state


class NotedGate(FetchGate):
    """Counts the polls for which no fetch is put off, and notes what came."""

    def __init__(self, state: SourceState) -> None:
        super().__init__(state)
        self.frames: list[int] = []
        self.opened_at: list[int] = []

    def answered(self, frames: int) -> None:
        """Noted."""
        self.frames.append(frames)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """From which poll to which."""
        consumer = self._state.consumer
        self.opened_at.append(len(consumer.polls))
        with super().opened():
            yield
        self.opened_at.append(len(consumer.polls))


def _poller(state: SourceState) -> Poller:
    return Poller(state, FetchGate(state))


async def test_while_all_have_room_fetches_have_the_clients_terms() -> None:
    """And the group hears of the poll often enough."""
    consumer = Consumer(_nothing)
    await _poller(_state(consumer))._poll_once()
    assert consumer.polls == [(100, ORDINARY)]


async def test_what_was_fetched_without_room_for_it_hardly_delays_the_others() -> None:
    """Else a fetch for all would wait for the partition that has none, and that one's for theirs."""

    async def one() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(0)]}

    consumer = Consumer(one)
    state = _state(consumer, frames=1)
    state.leases.assign(1, 0)
    gate = NotedGate(state)
    poller = Poller(state, gate)
    await poller._poll_once()
    await poller._poll_once()
    # Where a fetch ends with nothing, aiokafka sends another on the same terms: no poll outlasts it.
    assert consumer.polls == [(100, ORDINARY), (CROWDED.hold_ms, CROWDED)]
    assert gate.frames == [1, 1], "what a fetch takes is not learnt"


async def test_terms_do_not_grow_old_while_nobody_has_room() -> None:
    """The fetch that follows the one that filled the room begins on the terms of now."""

    async def full() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(0), _record(1)]}

    consumer = Consumer(full)
    poller = _poller(_state(consumer, frames=2))
    await poller._poll_once()
    await poller._poll_once()
    assert len(consumer.polls) == 1, "asked for frames without room"
    assert consumer.terms == CROWDED


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (Fetcher._get_actions_per_node, "_fetch_max_wait_ms"),
        (Fetcher._proc_fetch_request, "_prefetch_backoff"),
    ],
)
def test_aiokafka_reads_its_terms_at_each_fetch(reader: Callable[..., Any], name: str) -> None:
    """The poller sets them between two fetches; under another name that would do nothing."""
    assert f"self.{name}" in inspect.getsource(reader)


async def test_a_broken_record_is_looked_for_record_by_record() -> None:
    """Each is many fetches away from the next: none is put off, and the crowded terms are over."""
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
    state = _state(consumer)
    crowd = state.leases.assign(1, 0)
    crowd.state = LeaseState.DRAINING
    gate = NotedGate(state)
    await Poller(state, gate)._poll_or_isolate()
    state.leases.fence(crowd)
    assert [each.partition for each in state.leases] == [0]
    assert state.leases.get(0).next_offset == 3  # type: ignore[union-attr]  # it was just there
    assert [terms for _, terms in consumer.polls] == [CROWDED] + [ORDINARY] * 4
    assert gate.opened_at == [1, 5], "a fetch was put off"


@pytest.mark.parametrize("ended", [False, True], ids=["reading", "ended"])
async def test_nothing_is_taken_in_after_the_end(ended: bool) -> None:  # noqa: FBT001  # a table of two
    """What waited was given up then: a frame behind it could never be published, nor settled."""
    state: SourceState

    async def late() -> dict[TopicPartition, list[Any]]:
        state.ended = ended
        return {PARTITION: [_record(0)]}

    state = _state(Consumer(late))
    await _poller(state)._poll_once()
    assert len(state.admission) == (not ended)


async def test_a_lease_that_gave_all_back_is_read_again() -> None:
    """Whatever the order of settling, who waits for room is woken by the time a quarter of it is free."""

    async def full() -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [_record(offset) for offset in range(8)]}

    state = _state(Consumer(full))
    await _poller(state)._poll_once()
    (lease,) = state.leases
    assert not state.leases.has_room(lease)
    waiting = asyncio.create_task(state.changed.until(lambda: state.leases.has_room(lease)))
    for settled, frame in enumerate(reversed(state.take(8))):
        assert isinstance(frame, LeasedFrame)
        await _settled()
        assert waiting.done() == state.leases.has_room(lease) == (settled > 2)
        state.settle([Settled(frame, Outcome.DROPPED, "stale")])
    assert (lease.frames, lease.bytes_held, lease.full) == (0, 0, False)


async def _settled() -> None:
    """Whoever was woken has looked."""
    for _ in range(5):
        await asyncio.sleep(0)
