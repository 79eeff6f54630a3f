"""How far behind the worker is, asked of Kafka itself.

What fetches tell of a partition's end grows old exactly when it matters: while the model server is away or
a backlog stands, partitions without room are not fetched. So the ends are asked for, once a second.
"""

from __future__ import annotations

import asyncio
import logging

from aiokafka.errors import KafkaError

from riverlens_worker.source.state import SourceState

logger = logging.getLogger(__name__)

_EVERY_S = 1.0


class LagWatch:
    """Keeps `riverlens_lag_frames`: frames on Kafka that this worker has not read. Source's own task."""

    def __init__(self, state: SourceState) -> None:
        self._state = state

    async def run(self) -> None:
        """Ask for ever. A Kafka that does not answer leaves the last numbers standing, and is counted."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self._ask()
            except KafkaError as error:
                # aiokafka retries polls and commits by itself and in silence: an outage would show nowhere.
                self._state.metrics.poll_errors.inc()
                logger.warning("Kafka did not say how far the partitions reach: %r", error)

    async def _ask(self) -> None:
        state = self._state
        read = [lease for lease in state.leases if lease.next_offset is not None]
        if not read:
            return
        known = {state.topic_partition(lease): lease for lease in read}
        ends = await state.consumer.end_offsets(list(known))
        # What retention has removed waits no longer: without this a camera that stopped would lag for ever.
        late = [tp for tp, end in ends.items() if end > (known[tp].next_offset or 0) + 1]
        begins = await state.consumer.beginning_offsets(late) if late else {}
        for partition, end in ends.items():
            lease = known[partition]
            # Meanwhile the partition may have moved on, and its gauge with it.
            if lease.next_offset is not None and not lease.fenced:
                # A broker that crashes may bring back what was removed, when the fetches are already past it.
                lease.removed_to = max(lease.removed_to, begins.get(partition, 0))
                unread_from = max(lease.next_offset, lease.removed_to)
                state.metrics.lag_frames(str(lease.partition)).set(max(0, end - unread_from))
