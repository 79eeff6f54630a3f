"""What the publisher needs of a way to deliver; `sender` and `transactions` are the two there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from riverlens_worker.publisher.outbox import Entry


class Delivery(Protocol):
    """Takes each partition's records in order; tells what Kafka holds for good."""

    async def start(self) -> None:
        """Connect; raises aiokafka's own errors."""

    async def run(self) -> None:
        """Do what delivering needs, until cancelled.

        Raises:
            PublishError: Kafka does not let this worker write.
        """

    async def deliver(self, entries: Sequence[Entry]) -> None:
        """Take records, and frames that become none: each has its turn in its partition's order.

        A record is acknowledged later, or given up where its lease was fenced.
        """

    def waiting(self) -> int:
        """How many entries are not acknowledged yet."""

    async def flush(self) -> None:
        """Wait until everything taken is acknowledged or given up."""

    async def take_over(self, partitions: Iterable[int]) -> None:
        """These partitions become ours: before their committed offsets are read."""

    def release(self, partitions: Iterable[int]) -> None:
        """These partitions are ours no more: their leases are fenced."""

    async def stop(self, timeout_s: float) -> None:
        """Disconnect within the time; what is not acknowledged is read again."""
