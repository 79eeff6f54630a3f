"""Opens and ends leases as the group rebalances.

aiokafka calls the listener, waits for it, and swallows what it raises: so each callback catches its own
errors and reports them through the state. It is not called on stop().
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from riverlens.errors import UnreachableError
from riverlens.kafka_refusals import missing_right
from riverlens_worker.backoff import Backoff, Deadline
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.source.committer import Committer
from riverlens_worker.source.state import SourceState

logger = logging.getLogger(__name__)

_REFUSED = (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
_TOLD_EVERY = 10
_BEGINNINGS_S = 1.0


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """The rebalance listener."""

    def __init__(self, state: SourceState, committer: Committer) -> None:
        self._state = state
        self._committer = committer
        self._backoff = Backoff()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Open a lease for each partition at its committed offset."""
        try:
            await self._open(sorted(assigned))
        except Exception as error:  # noqa: BLE001  # aiokafka would swallow it
            self._fail(error)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let calls under way finish, commit, end the leases; all within one deadline."""
        try:
            await self._close(list(revoked))
        except Exception as error:  # noqa: BLE001  # aiokafka would swallow it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, KafkaError):
            settings = self._state.settings
            told = missing_right(error, settings.kafka.sasl_username)
            if told is None:
                told = f"refuses us in the group {settings.group_id!r} (group_id): {error!r}"
            error = UnreachableError(f"Kafka at {settings.kafka.bootstrap_servers} {told}")
        self._state.fail(error)

    async def _open(self, partitions: list[TopicPartition]) -> None:
        state = self._state
        consumer = state.consumer
        # Paused before the first await, so that nothing is handed out before its lease is open.
        consumer.pause(*partitions)
        committed = await self._take_over(partitions)
        if committed is None or state.ended:
            return
        beginnings = await self._beginnings([tp for tp in partitions if committed[tp] is None])
        known = {tp: offset for tp, offset in committed.items() if offset is not None}
        starts = beginnings | await self._still_there(known)
        for tp in partitions:
            start = starts[tp]
            consumer.seek(tp, start)
            state.leases.assign(tp.partition, start)
        consumer.resume(*partitions)
        state.metrics.partitions.set(len(state.leases))
        state.metrics.rebalances("assigned").inc(len(partitions))
        logger.info("partitions assigned: %s", [tp.partition for tp in partitions] or "none")
        state.changed.fire()

    async def _take_over(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int | None] | None:
        """The committed offsets, read once nobody else can move them: tried until Kafka answers.

        None where reading has ended, or the group gave the partitions to others meanwhile: aiokafka sends
        no heartbeats while its listener works. So each further try begins with one.
        """
        state = self._state
        attempt = 0
        while not state.ended:
            try:
                if attempt and not await state.group.is_member():
                    logger.warning("the group went on during the takeover: joining anew")
                    return None
                if state.handover is not None:
                    await state.handover.take_over([tp.partition for tp in partitions])
                return await state.group.committed(partitions)
            except (KafkaError, OSError, TimeoutError) as error:
                if isinstance(error, _REFUSED):
                    raise
                if attempt % _TOLD_EVERY == 0:
                    logger.warning("the partitions cannot be taken over yet: %r", error)
            attempt += 1
            await asyncio.sleep(self._backoff.delay_s(attempt, random.random()))  # noqa: S311  # jitter
        return None

    async def _beginnings(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Where to begin where nothing was ever committed: with the oldest frame; asked until Kafka answers.

        Where every camera is `latest_only`, behind the newest: all before it would be read to be dropped.
        A lease must know where it stands before its first poll: one that raises has moved on already.
        """
        consumer, freshness = self._state.consumer, self._state.freshness
        only_latest = freshness is not None and freshness.only_latest
        ask = consumer.end_offsets if only_latest else consumer.beginning_offsets
        while partitions:
            try:
                found: dict[TopicPartition, int] = await ask(partitions)
            except KafkaTimeoutError as error:
                logger.warning("waiting for the partitions' first offsets: %r", error)
            else:
                return found
        return {}

    async def _still_there(self, committed: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where to go on reading: the committed offsets, or behind what retention removed from there on.

        Only asked for a moment: without an answer (a partition has no leader just now) the poller counts
        what is missing, at the partition's next frame.
        """
        try:
            async with asyncio.timeout(_BEGINNINGS_S):
                beginnings = await self._state.consumer.beginning_offsets(list(committed))
        except (TimeoutError, KafkaError) as error:
            logger.debug("the partitions' first offsets are not known now: %r", error)
            return committed
        for tp, offset in committed.items():
            expired = beginnings[tp] - offset
            if expired > 0:
                self._state.metrics.expired.inc(expired)
                logger.error(
                    "retention removed %d frames of partition %d before they were read", expired, tp.partition
                )
        return {tp: max(offset, beginnings[tp]) for tp, offset in committed.items()}

    async def _close(self, partitions: list[TopicPartition]) -> None:
        state = self._state
        leases = [lease for tp in partitions if (lease := state.leases.get(tp.partition)) is not None]
        if not leases:
            return
        deadline = Deadline.after(state.settings.drain_timeout_ms / 1000, state.now_s())
        try:
            for lease in leases:
                lease.state = LeaseState.DRAINING
                state.give_up(lease)
            await self._drained(leases, deadline)
            await self._committer.commit_within(deadline, "a rebalance")
        finally:
            state.fence(leases)
            state.metrics.rebalances("revoked").inc(len(leases))

    async def _drained(self, leases: list[PartitionLease], deadline: Deadline) -> None:
        state = self._state
        try:
            async with asyncio.timeout(deadline.remaining_s(state.now_s())):
                await state.changed.until(lambda: not any(len(lease.ledger) for lease in leases))
        except TimeoutError:
            left = sum(len(lease.ledger) for lease in leases)
            logger.warning("partitions move on with %d frames unfinished; the next owner reads them", left)
