"""Takes in what polls give: under the leases of this very moment, and every offset accounted for. Shell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from riverlens.dead_letter import Reason
from riverlens_worker.admission import Admitted
from riverlens_worker.messages import dead_letter
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.source.state import SourceState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets from `expected` to before `first` never came."""

    lease: PartitionLease
    expected: int
    first: int


class Intake:
    """From records to waiting frames. Owned by the poller."""

    def __init__(self, state: SourceState) -> None:
        self._state = state

    def take_in(self, polled: Mapping[TopicPartition, list[Any]]) -> list[Gap]:
        """Admit what a poll gave, under the leases of this very moment; returns the gaps before it.

        A poll waits for a rebalance to end, so the leases it was asked for may not be those it answers for.
        No await in here: another rebalance could slip in, and records of an older lease into a newer one.
        """
        gaps: list[Gap] = []
        for tp, records in polled.items():
            lease = self._state.leases.get(tp.partition)
            # aiokafka hands out records while partitions are still being assigned: not yet ours. After the
            # end those before them have been given up: nothing may pass them.
            if lease is not None and lease.open and not self._state.ended:
                gaps += self._admit(lease, records)
        return gaps

    def _admit(self, lease: PartitionLease, records: list[Any]) -> list[Gap]:
        """Take records in; returns the gap before them, if there is one."""
        state = self._state
        now_s, now_ms = state.now_s(), state.now_ms()
        expected = lease.next_offset
        items: list[Admitted] = []
        nbytes = 0
        for record in records:
            if lease.next_offset is not None and record.offset < lease.next_offset:
                continue  # read before, after a seek back
            frame = state.leases.admit(lease, record, record.offset, now_s, now_ms)
            if frame.frame.captured_at_ms > now_ms:
                state.metrics.future_captures.inc()
            nbytes += frame.nbytes
            items.append(frame)
        self._hand_over(lease, items, nbytes)
        if expected is not None and records and records[0].offset > expected:
            return [Gap(lease, expected, records[0].offset)]
        return []

    def _hand_over(self, lease: PartitionLease, items: list[Admitted], nbytes: int) -> None:
        metrics = self._state.metrics
        metrics.consumed.inc(len(items))
        metrics.in_flight_frames.inc(len(items))
        metrics.in_flight_bytes.inc(nbytes)
        self._state.enqueue(lease, items)

    async def count_expired(self, gap: Gap) -> None:
        """A gap is a loss only where the log now begins beyond it: retention removed unread frames."""
        tp = self._state.topic_partition(gap.lease)
        try:
            beginning = (await self._state.consumer.beginning_offsets([tp]))[tp]
        except KafkaError:
            beginning = 0  # a poll must not fail for a statistic; what was seen to be removed is known
        expired = min(max(beginning, gap.lease.removed_to), gap.first) - gap.expected
        if expired > 0:
            self._state.metrics.expired.inc(expired)
            logger.error(
                "retention removed %d frames of partition %d before they were read", expired, tp.partition
            )

    def set_aside(self, lease: PartitionLease, offset: int, error: BaseException) -> None:
        """Let a dead letter stand in the place of a record that cannot be parsed."""
        state = self._state
        frame = state.leases.admit_unreadable(lease, offset, state.now_s(), state.now_ms())
        logger.warning("offset %d of partition %d is unreadable: %r", offset, lease.partition, error)
        rejected = dead_letter(frame, Reason.UNREADABLE, f"{type(error).__name__}: {error}")
        self._hand_over(lease, [rejected], 0)
