"""Drains the consumer into the admission queues, as room allows.

A poll that raised has discarded what it had already taken, positions advanced. So after any error every
lease is sought back to its own next offset, and each partition is asked alone to find the guilty record.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct

from aiokafka.errors import (
    CorruptRecordException,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedCodecError,
)

from riverlens.errors import UnreachableError
from riverlens.kafka import refused
from riverlens_worker.backoff import Backoff
from riverlens_worker.fetch_pace import CROWDED, ORDINARY
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.source.fetch_gate import FetchGate
from riverlens_worker.source.intake import Intake
from riverlens_worker.source.state import SourceState

logger = logging.getLogger(__name__)

_POLL_MS = 100
_POLL_RECORDS = 512
_EMPTY_POLLS = 10
_PAUSE_AFTER_S = 1.0
_PARSE_ERRORS = (
    UnicodeDecodeError,
    CorruptRecordException,
    UnsupportedCodecError,
    ValueError,
    AssertionError,
    IndexError,
    struct.error,
    SystemError,
)
"""What aiokafka raises for a record that cannot be parsed; the last is for a wrong magic byte."""


class Poller:
    """The poll loop. Asks only partitions with room; one without for a second is paused."""

    def __init__(self, state: SourceState, gate: FetchGate) -> None:
        self._state = state
        self._gate = gate
        self._intake = Intake(state)
        self._backoff = Backoff()
        self._full_since_s: dict[PartitionLease, float] = {}
        self._paused: set[PartitionLease] = set()
        self._failing_since_s: float | None = None

    async def run(self) -> None:
        """Poll until cancelled. Cancelled only when the consumer is about to close."""
        failures = 0
        while True:
            try:
                await self._poll_or_isolate()
                failures = 0
                self._failing_since_s = None
            except IllegalStateError:
                # A rebalance took a partition between choosing and asking.
                await asyncio.sleep(_POLL_MS / 1000)
            except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
                raise refused(self._state.settings.kafka, error, "Read") from None
            except KafkaError as error:
                failures += 1
                self._state.metrics.poll_errors.inc()
                logger.warning("reading from Kafka failed and is tried again: %r", error)
                self._rejoin_after_a_session(error)
                # Not for secrets: jitter against many workers asking at once.
                await asyncio.sleep(self._backoff.delay_s(failures, random.random()))  # noqa: S311  # jitter

    def _rejoin_after_a_session(self, error: KafkaError) -> None:
        """Polls that failed for a session's length will not mend by themselves: join the group anew.

        aiokafka's heartbeats end for good at an answer it does not know; from then on every poll raises.

        Raises:
            UnreachableError: its coordination has ended as well: only a new process joins again.
        """
        state, now_s = self._state, self._state.now_s()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        elif now_s - self._failing_since_s > state.settings.session_timeout_ms / 1000:
            if state.group.ended:
                group = state.settings.group_id
                raise UnreachableError(f"lost the group {group!r} for good: {error!r}; start the worker anew")
            logger.warning("reading has failed for a session's length: joining the group anew")
            self._failing_since_s = None
            state.group.rejoin()

    async def _poll_or_isolate(self) -> None:
        try:
            await self._poll_once()
        except _PARSE_ERRORS as error:
            logger.warning("a record cannot be parsed (%r); looking for it", error)
            await self._isolate()
        except KafkaError:
            self._seek_all_back()
            raise

    async def _poll_once(self) -> None:
        state = self._state
        asked = self._choose()
        terms = CROWDED if len(asked) < len(state.leases) else ORDINARY
        self._gate.set(terms)
        if len(state.leases) and not asked:
            await self._wait_for_room()
            return
        partitions = [state.topic_partition(lease) for lease in asked]
        # Where a fetch ends with nothing, aiokafka sends another by itself: not on the same terms.
        wait_ms = min(_POLL_MS, terms.hold_ms)
        polled = await state.consumer.getmany(*partitions, timeout_ms=wait_ms, max_records=_POLL_RECORDS)
        if polled:
            self._gate.answered(sum(map(len, polled.values())))
        for gap in self._intake.take_in(polled):
            await self._intake.count_expired(gap)

    def _choose(self) -> list[PartitionLease]:
        """Leases with room; the others are paused once they had none for a second."""
        state, now_s = self._state, self._state.now_s()
        current = set(state.leases)
        self._paused &= current
        self._full_since_s = {k: v for k, v in self._full_since_s.items() if k in current}
        chosen = []
        for lease in current:
            if state.leases.has_room(lease):
                self._full_since_s.pop(lease, None)
                chosen.append(lease)
                if lease in self._paused:
                    self._paused.remove(lease)
                    state.consumer.resume(state.topic_partition(lease))
            elif lease.open and lease not in self._paused:
                since_s = self._full_since_s.setdefault(lease, now_s)
                if now_s - since_s > _PAUSE_AFTER_S:
                    self._paused.add(lease)
                    state.consumer.pause(state.topic_partition(lease))
        return chosen

    async def _wait_for_room(self) -> None:
        """Nothing may be read now. Paused partitions go on being polled, so that the group keeps us."""
        state = self._state
        try:
            async with asyncio.timeout(_POLL_MS / 1000):
                await state.changed.until(lambda: any(state.leases.has_room(lease) for lease in state.leases))
        except TimeoutError:
            if self._paused and len(self._paused) == len(state.leases):
                self._intake.take_in(await state.consumer.getmany(timeout_ms=0))

    def _seek_all_back(self) -> None:
        for lease in self._state.leases:
            if lease.next_offset is not None and lease.open:
                self._state.consumer.seek(self._state.topic_partition(lease), lease.next_offset)

    async def _isolate(self) -> None:
        """Ask each partition alone, record by record where it raises, and dead-letter the guilty offset."""
        self._seek_all_back()
        self._gate.set(ORDINARY)
        # Side by side: an idle partition takes its whole poll time to say that it has nothing.
        open_leases = [lease for lease in self._state.leases if lease.open]
        with self._gate.opened():
            errors = await asyncio.gather(*map(self._examine, open_leases), return_exceptions=True)
        for error in errors:
            if error is not None:
                raise error

    async def _examine(self, lease: PartitionLease) -> None:
        """Poll until something came, good or bad, or the partition has nothing more."""
        before = lease.next_offset
        for _ in range(_EMPTY_POLLS):
            try:
                await self._poll_alone(lease, _POLL_RECORDS)
            except _PARSE_ERRORS:
                await self._find_guilty(lease)
                return
            if not lease.open or lease.next_offset != before or self._at_end(lease):
                return

    def _at_end(self, lease: PartitionLease) -> bool:
        """Whether all that Kafka told of at the last fetch is read."""
        try:
            end = self._state.consumer.highwater(self._state.topic_partition(lease))
        except AssertionError:
            return True  # aiokafka's word for a partition that has just moved on
        return end is not None and lease.next_offset is not None and lease.next_offset >= end

    async def _find_guilty(self, lease: PartitionLease) -> None:
        """Read one by one up to the record that cannot be parsed, and on past all that it hides.

        It is among the next poll's worth of records; some polls come back empty while Kafka is asked.
        """
        found = False
        for _ in range(_POLL_RECORDS + _EMPTY_POLLS):
            if lease.next_offset is None or not lease.open:
                return
            self._state.consumer.seek(self._state.topic_partition(lease), lease.next_offset)
            try:
                await self._poll_alone(lease, 1)
                if found:
                    return
            except _PARSE_ERRORS as error:
                if self._state.ended or not lease.open:
                    return  # the poll outlasted a rebalance: the record is the next owner's to find
                found = True
                self._intake.set_aside(lease, lease.next_offset, error)

    async def _poll_alone(self, lease: PartitionLease, limit: int) -> None:
        tp = self._state.topic_partition(lease)
        self._intake.take_in(
            await self._state.consumer.getmany(tp, timeout_ms=2 * _POLL_MS, max_records=limit)
        )
