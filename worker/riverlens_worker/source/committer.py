"""Commits what is settled, and proves membership after a stall."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from riverlens.errors import UnreachableError
from riverlens_worker.backoff import Deadline
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.source.state import SourceState

logger = logging.getLogger(__name__)

_LEAST_S = 0.5
"""Even a spent deadline leaves a last commit this long: it is what saves frames from being read again."""


class Committer:
    """Writes offsets of open and draining leases; one commit at a time."""

    def __init__(self, state: SourceState) -> None:
        self._state = state
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Commit at the set interval, until cancelled."""
        interval_s = self._state.settings.commit_interval_ms / 1000
        while True:
            await asyncio.sleep(interval_s)
            await self._try_commit()

    async def _try_commit(self) -> None:
        # Those of this instant: an answer may come when a rebalance has opened others.
        held = tuple(self._state.leases)
        try:
            await self.commit()
        except CommitFailedError:
            logger.warning("a commit was refused: the partitions moved on")
            self._state.fence(held)
        except IllegalStateError:
            pass  # a rebalance is under way; the revoke commits
        except KafkaError as error:
            self._state.metrics.poll_errors.inc()
            logger.warning("a commit failed and is tried again: %r", error)

    async def commit(self) -> None:
        """Commit what is new.

        Raises:
            CommitFailedError: the group has moved on without this worker.
            KafkaError: Kafka did not take it; nothing is lost, frames are read again.
        """
        if self._state.settings.exactly_once:
            return  # the transactions commit; a commit beside them could take one of theirs back
        async with self._lock:
            # Decided and sent without an await between: no revoke can slip in.
            fresh = self._state.leases.to_commit()
            if not fresh:
                return
            await self._send(fresh)

    async def _send(self, offsets: Mapping[PartitionLease, int]) -> None:
        """Commit, and note with each lease what it has committed."""
        topic_partition = self._state.topic_partition
        await self._state.consumer.commit({topic_partition(lease): at for lease, at in offsets.items()})
        for lease, offset in offsets.items():
            lease.committed = offset

    async def commit_within(self, deadline: Deadline, occasion: str) -> None:
        """The last commit before a revoke or a stop; a failure is logged, frames are then read again."""
        try:
            async with asyncio.timeout(max(_LEAST_S, deadline.remaining_s(self._state.now_s()))):
                await self.commit()
        except (TimeoutError, KafkaError) as error:
            logger.warning("the commit before %s failed, some frames will be read again: %r", occasion, error)

    async def prove_membership(self) -> None:
        """After a stall: commit the offsets as they stand. Refused, every lease is fenced."""
        state = self._state
        async with self._lock:
            if not state.guard.suspect(state.now_s()):
                return
            held = tuple(state.leases)
            try:
                await (self.is_member() if state.settings.exactly_once else self._commit_standing())
            except (CommitFailedError, IllegalStateError):
                logger.warning("the process stood still and its partitions moved on: its frames are fenced")
                state.fence(held)
            except KafkaError as error:
                if state.settings.exactly_once:
                    # Asked again at the next tick; until then Kafka refuses what is not ours to publish.
                    logger.warning("after a stall the group does not answer yet: %r", error)
                    return
                # Not the group's word: without one neither publishing nor going on reading is safe.
                state.fence(state.leases)
                group = state.settings.group_id
                state.fail(UnreachableError(f"Kafka takes no commits of the group {group!r}: {error!r}"))
            state.guard.prove(state.now_s())

    async def is_member(self) -> bool:
        """Whether the group still counts us in; where not, every lease that was ours when asked is fenced.

        Raises:
            KafkaError: the group does not answer, or not now.
        """
        held = tuple(self._state.leases)
        if await self._state.group.is_member():
            return True
        logger.warning("the group went on without this worker: its frames are fenced")
        self._state.fence(held)
        return False

    async def _commit_standing(self) -> None:
        offsets = {
            lease: offset for lease in self._state.leases if (offset := self._standing(lease)) is not None
        }
        if offsets:
            await self._send(offsets)

    @staticmethod
    def _standing(lease: PartitionLease) -> int | None:
        """The lease's offset as it stands; None where nothing was read and nothing committed."""
        offset = lease.ledger.committable()
        return lease.committed if offset is None else offset
