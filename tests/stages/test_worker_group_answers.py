"""What the source makes of the group's answers: late ones, none at all, and none ever again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError, KafkaError, NotCoordinatorError
from prometheus_client import CollectorRegistry

from riverlens.errors import UnreachableError
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import Outcome, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import StallGuard
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.committer import Committer
from riverlens_worker.source.fetch_gate import FetchGate
from riverlens_worker.source.membership import Membership
from riverlens_worker.source.poller import Poller
from riverlens_worker.source.state import SourceState
from tests.worker_parts import leased


class Group:
    """Answers with what `answer` is set to; an exception is raised."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.ended = False

    async def is_member(self) -> bool:
        """The answer, once it is there."""
        return await self.answer

    def rejoin(self) -> None:
        """Nothing to join."""


class Handover:
    """Notes the partitions that are released, or tried to take over; none can be."""

    def __init__(self) -> None:
        self.released: list[int] = []
        self.tried: list[int] = []

    async def take_over(self, partitions: Iterable[int]) -> None:
        """Note them, and fail."""
        self.tried += partitions
        raise KafkaConnectionError

    def release(self, partitions: Iterable[int]) -> None:
        """Note them."""
        self.released += partitions


def make_state(delivery: Literal["at-least-once", "exactly-once"] = "exactly-once") -> SourceState:
    """A source's state on a group made here."""
    group: Any = Group()
    return SourceState(
        settings=WorkerSettings(delivery=delivery, commit_interval_ms=50),
        metrics=Metrics(CollectorRegistry()),
        consumer=SimpleNamespace(_fetcher=SimpleNamespace()),
        leases=LeaseTable("frames", Room(8, 1024, 1024)),
        guard=StallGuard(session_timeout_s=6, heartbeat_s=1, now_s=time.monotonic()),
        group=group,
        handover=Handover(),
    )


async def test_a_late_no_ends_only_the_leases_it_was_asked_for() -> None:
    """A rebalance between question and answer has opened others: those stay, and so do their producers."""
    state = make_state()
    first, second = state.leases.assign(0, 0), state.leases.assign(1, 0)
    asking = asyncio.create_task(Committer(state).is_member())
    await asyncio.sleep(0)
    state.fence([first])
    newer = state.leases.assign(0, 0)
    state.group.answer.set_result(False)  # type: ignore[attr-defined]  # ours, above
    assert not await asking
    assert second.fenced
    assert newer.open
    assert state.handover is not None
    assert state.handover.released == [0, 1]  # type: ignore[attr-defined]  # ours, above


async def test_a_late_refusal_of_a_commit_ends_only_the_leases_it_was_for() -> None:
    """As with a late no: leases that a rebalance opened meanwhile are not given up."""
    state = make_state("at-least-once")
    first = state.leases.assign(0, 0)
    frame = leased(first, 0)
    first.frames, first.bytes_held = 1, frame.nbytes
    state.settle([Settled(frame, Outcome.PUBLISHED)])

    async def refused(_: object) -> None:
        state.fence([first])
        state.leases.assign(0, 0)
        raise CommitFailedError

    state.consumer.commit = refused
    running = asyncio.create_task(Committer(state).run())
    async with asyncio.timeout(60):
        await state.changed.until(lambda: first.fenced)
    await asyncio.sleep(0)
    running.cancel()
    newer = state.leases.get(0)
    assert newer is not None
    assert newer.open


async def test_exactly_once_survives_a_coordinator_that_moves_after_a_stall() -> None:
    """No answer is no loss there: the worker goes on and asks again, Kafka refuses what is not its own."""
    state = make_state()
    lease = state.leases.assign(0, 0)
    state.guard.beat(time.monotonic() + 60)
    state.group.answer.set_exception(NotCoordinatorError())  # type: ignore[attr-defined]  # ours, above
    await Committer(state).prove_membership()
    assert state.guard.suspect(time.monotonic())
    assert state.failure is None
    assert lease.open


async def test_a_consumer_that_can_join_no_more_ends_the_worker() -> None:
    """Its coordination ended for good: after a session's length the worker says so and stops."""
    state = make_state()

    async def getmany(*_: object, **__: object) -> None:
        raise KafkaError("Unexpected error during coordination")

    state.consumer.getmany = getmany
    state.group.ended = True  # type: ignore[misc]  # ours, above
    poller = Poller(state, FetchGate(state))
    poller._failing_since_s = float("-inf")
    with pytest.raises(UnreachableError, match="start the worker anew"):
        await poller.run()


async def test_a_takeover_that_outlasts_the_membership_is_given_up() -> None:
    """No second try where the group went on: it would end the producers of the partitions' new owner."""
    state = make_state()
    state.consumer.pause = lambda *_: None
    state.group.answer.set_result(False)  # type: ignore[attr-defined]  # ours, above
    await Membership(state, Committer(state)).on_partitions_assigned([TopicPartition("frames", 0)])
    assert state.handover is not None
    assert state.handover.tried == [0]  # type: ignore[attr-defined]  # ours, above
    assert (len(state.leases), state.failure) == (0, None)
