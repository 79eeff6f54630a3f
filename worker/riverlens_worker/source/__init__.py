"""Reads frames from Kafka under leases, and commits what is settled. Shell, in parts.

Owns membership, leases, ledger, room and commits. `poller` reads, `fetch_gate` says when Kafka is asked,
`checksums` that what came is what was written, `membership` opens and ends leases, `committer` commits;
`state` is what they share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from riverlens.errors import UnreachableError
from riverlens.kafka import connect
from riverlens_worker.admission import Admission, Admitted
from riverlens_worker.backoff import Deadline
from riverlens_worker.channel import EndOfStream, Signal
from riverlens_worker.fetch_pace import Demand
from riverlens_worker.freshness import Freshness
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import LeasedFrame, Rejected, Settled
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import StallGuard
from riverlens_worker.servers import parse_servers
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.checksums import check_here
from riverlens_worker.source.committer import Committer
from riverlens_worker.source.fetch_gate import FetchGate
from riverlens_worker.source.group import Group
from riverlens_worker.source.lag import LagWatch
from riverlens_worker.source.membership import Membership
from riverlens_worker.source.poller import Poller
from riverlens_worker.source.state import Handover, SourceState

logger = logging.getLogger(__name__)

_TICK_S = 1.0
_FETCH_MAX_BYTES = 4 * 1024 * 1024
"""Of one fetch's answer, but for a single larger record. aiokafka holds it several times over while it is
taken apart; without a limit it is a megabyte of each partition under a backlog, and memory stays so high."""


def _instance_id(settings: WorkerSettings) -> str | None:
    name = settings.group_instance_id
    return f"{name}-{socket.gethostname()}-{os.getpid()}" if name else None


def _consumer_options(settings: WorkerSettings) -> dict[str, Any]:
    return {
        **settings.kafka.client_options(),
        "group_id": settings.group_id,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": settings.heartbeat_interval_ms,
        "rebalance_timeout_ms": settings.rebalance_timeout_ms,
        "max_poll_interval_ms": settings.max_poll_interval_ms,
        "fetch_max_bytes": _FETCH_MAX_BYTES,
        "group_instance_id": _instance_id(settings),
    }


def _enough(settings: WorkerSettings) -> int | None:
    """Frames of as many calls as may be under way, and of the batch behind them; None where nobody knows."""
    servers = parse_servers(settings.server)
    if any(server.every_address for server in servers):
        return None
    return (settings.max_in_flight_calls * len(servers) + 1) * settings.max_batch_size


class Source:
    """Frames out through `take`, outcomes back through `settle`. Make it inside the event loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        metrics: Metrics,
        now_s: float,
        freshness: Freshness | None = None,
        pass_by: Callable[[Sequence[Rejected]], None] = lambda _: None,
    ) -> None:
        """`freshness`: the policies, None where every frame counts; `pass_by` takes on what they drop."""
        consumer = AIOKafkaConsumer(**_consumer_options(settings), check_crcs=not check_here())
        self._state = SourceState(
            settings=settings,
            metrics=metrics,
            consumer=consumer,
            group=Group(consumer, settings.group_id),
            leases=LeaseTable(
                settings.frames_topic,
                Room(settings.room_frames, settings.room_bytes, settings.total_room_bytes, _enough(settings)),
            ),
            guard=StallGuard(
                session_timeout_s=settings.session_timeout_ms / 1000,
                heartbeat_s=settings.heartbeat_interval_ms / 1000,
                now_s=now_s,
            ),
            freshness=freshness,
            pass_by=pass_by,
            admission=Admission(freshness),
        )
        self._committer = Committer(self._state)
        self._gate, self._lag = FetchGate(self._state), LagWatch(self._state)
        self._poller = Poller(self._state, self._gate)

    async def start(self, handover: Handover | None = None) -> None:
        """Join the group; `handover` is told of partitions that come and go.

        Raises:
            UnreachableError: Kafka does not answer or refuses us.
        """
        consumer = self._state.consumer
        self._state.handover = handover
        consumer.subscribe(
            [self._state.settings.frames_topic], listener=Membership(self._state, self._committer)
        )
        await connect(self._state.settings.kafka, consumer.start())

    def serve(self, demand: Callable[[], Demand], answered: Signal, ahead: int) -> None:
        """Frames are fetched as the batch that is being filled needs them. Before `run`.

        `answered` fires when a call is over. `ahead`: how many frames may be taken before a call takes them:
        its rows, and what the stages work on.
        """
        self._state.demand, self._state.answered = demand, answered
        self._state.admission.limit(ahead)

    def sealed(self, frames: Iterable[LeasedFrame]) -> None:
        """These frames are in a call: others may be decoded."""
        self._state.sealed(frames)

    async def run(self) -> None:
        """Poll, commit and watch the clock until `end`; raises what ended reading for good."""
        state = self._state
        async with asyncio.TaskGroup() as group:
            # Only now, with the consumer about to close, may a poll be cancelled.
            keeping = self._committer.run(), self._lag.run(), self._tick()
            tasks = [group.create_task(part) for part in (self._gate.run(), self._poller.run(), *keeping)]
            await state.arrived.until(lambda: state.ended or state.failure is not None)
            for task in tasks:
                task.cancel()
        if state.failure is not None:
            raise state.failure

    def end(self) -> None:
        """Stop reading: frames that nobody has taken are given up, the stream ends. Never waits."""
        state = self._state
        if not state.ended:
            state.ended = True
            for lease in state.leases:
                state.give_up(lease)
            state.arrived.fire()
            state.changed.fire()

    async def close(self, deadline: Deadline) -> None:
        """Last commit, then leave the group, within `deadline`. What is not settled is read again."""
        state = self._state
        await self._committer.commit_within(deadline, "the stop")
        state.fence(state.leases)
        try:
            async with asyncio.timeout(max(1.0, deadline.remaining_s(state.now_s()))):
                await state.consumer.stop()
        except TimeoutError:
            logger.warning("leaving the consumer group took too long; its session will run out")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # With the broker away aiokafka's stop() raises a bare CancelledError: a failed stop.
            logger.warning("leaving the consumer group failed; its session will run out")

    async def take(self, limit: int) -> list[Admitted]:
        """At least one waiting frame and at most `limit`, fairly by partition.

        Raises:
            EndOfStream: reading has ended.
        """
        state = self._state
        while True:
            await state.arrived.until(
                lambda: state.admission.ready() or (state.ended and not len(state.admission))
            )
            if taken := state.take(limit):
                return taken
            if state.ended and not len(state.admission):
                raise EndOfStream

    def beside_backlog(self, rows: int) -> bool:
        """Whether Kafka holds more than `rows` frames of some partition, while another in use keeps up."""
        return self._state.beside_backlog(rows)

    def sweep(self, now_s: float) -> list[Rejected]:
        """Frames that have gone stale while nobody took them; they wait no more."""
        return self._state.admission.sweep(now_s)

    def settle(self, settled: Sequence[Settled]) -> None:
        """These frames have their outcome. Exactly once a frame."""
        self._state.settle(settled)

    def hold(self, source: LeasedFrame, fetched: bytes) -> LeasedFrame:
        """The frame with what its reference named; the fetched bytes take room until it is settled."""
        return self._state.hold(source, fetched)

    @property
    def waiting(self) -> int:
        """Frames read that nobody has taken."""
        return len(self._state.admission)

    @property
    def takeable(self) -> int:
        """Of those, how many may be taken now, at most."""
        return self._state.admission.takeable()

    @property
    def leases(self) -> LeaseTable:
        """The current leases, to look at."""
        return self._state.leases

    @property
    def changed(self) -> Signal:
        """Fires when room is given back, and when a lease's state changes."""
        return self._state.changed

    async def may_publish(self) -> None:
        """Return once it is certain that the open leases are ours; at once in ordinary times."""
        state = self._state
        # In exactly-once mode Kafka itself refuses what comes from an owner of old.
        if not state.settings.exactly_once and state.guard.suspect(state.now_s()):
            await self._committer.prove_membership()

    async def is_member(self) -> bool:
        """Whether the group still counts this worker in; where not, its leases are fenced.

        Raises:
            KafkaError: the group does not answer, or not now.
        """
        return await self._committer.is_member()

    async def committed(self, partition: int) -> int | None:
        """The partition's committed offset, as the group knows it.

        Raises:
            KafkaError: the group refuses.
        """
        tp = TopicPartition(self._state.settings.frames_topic, partition)
        return (await self._state.group.committed([tp]))[tp]

    async def _tick(self) -> None:
        state = self._state
        while True:
            self._exit_if_static(state.guard.late_s(state.now_s()))
            state.guard.beat(state.now_s())
            if state.guard.suspect(state.now_s()):
                await self._committer.prove_membership()
            self._show_age()
            await asyncio.sleep(_TICK_S)

    def _exit_if_static(self, late_s: float) -> None:
        """A static member that outlived its session may have a successor of its name: it must not rejoin.

        aiokafka names the instance in no heartbeat, so the two would take the partitions from each other.
        """
        settings = self._state.settings
        if settings.group_instance_id and late_s > settings.session_timeout_ms / 1000:
            self._state.fence(self._state.leases)
            self._state.fail(
                UnreachableError(
                    f"this worker stood still for {late_s:.1f} s, longer than its session, and as a static "
                    "member (group_instance_id) must start anew"
                )
            )

    def _show_age(self) -> None:
        state = self._state
        for lease in state.leases:
            oldest_ms = lease.ledger.oldest_ms()
            age_s = 0.0 if oldest_ms is None else max(0, state.now_ms() - oldest_ms) / 1000
            state.metrics.lag_seconds(str(lease.partition)).set(age_s)
