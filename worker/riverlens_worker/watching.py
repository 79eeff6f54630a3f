"""Looks at the worker once a second: does work go on, do the numbers balance. Shell.

`watchdog` decides; this reads the stages, keeps the gauges and logs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from riverlens_worker.metrics import Metrics, value_of
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.watchdog import PartitionReading, PartitionWatch, Reading, Watchdog

logger = logging.getLogger(__name__)

_TICK_S = 1.0
_TRAILING = 1
"""A transaction's mark at a partition's end counts as a frame behind the last one read, and never goes."""


class Watching:
    """Says whether and why work stands still. Owned by the pipeline.

    Attributes:
        stalled: why, in words; "" while work goes on.
    """

    def __init__(self, look: Callable[[float], Reading], timeout_s: float, metrics: Metrics) -> None:
        """`look` reads the stages, at a time of the monotonic clock."""
        self.stalled = ""
        self._look = look
        self._tick_s = min(_TICK_S, timeout_s / 4)
        self._watchdog = Watchdog(timeout_s)
        self._partitions = PartitionWatch(timeout_s)
        self._metrics = metrics

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            check_balance(self._metrics)
            await asyncio.sleep(self._tick_s)

    def look(self) -> None:
        """Look once."""
        reading = self._look(time.monotonic())
        before, self.stalled = self.stalled, self._watchdog.look(reading)
        if self.stalled and not before:
            logger.error("work stands still: %s", self.stalled)
        elif before and not self.stalled:
            logger.info("work goes on")
        verdicts = self._partitions.look(reading)
        for partition, stalled_s in verdicts.stalled_s.items():
            self._metrics.partition_stalled(str(partition)).set(stalled_s)
        if not self.stalled:
            for line in verdicts.stuck:
                logger.error("%s; other partitions go on", line)
        for partition in verdicts.freed:
            logger.info("partition %d goes on", partition)


def partition_readings(leases: Iterable[PartitionLease], metrics: Metrics) -> list[PartitionReading]:
    """Readings of all leases."""
    now_ms = time.time_ns() // 1_000_000
    readings = []
    for lease in leases:
        oldest_ms = lease.ledger.oldest_ms()
        unread = value_of(metrics.lag_frames(str(lease.partition)))
        readings.append(
            PartitionReading(
                partition=lease.partition,
                lease=id(lease),
                mark=lease.ledger.committable(),
                waits=len(lease.ledger) > 0 or unread > _TRAILING,
                oldest_s=None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
            )
        )
    return readings


def unread_frames(leases: Iterable[PartitionLease], metrics: Metrics) -> int:
    """Frames of these partitions that lie on Kafka unread, as far as is known."""
    return sum(max(0, int(value_of(metrics.lag_frames(str(x.partition)))) - _TRAILING) for x in leases)


def check_balance(metrics: Metrics) -> None:
    """Hold consumed against the rest; a difference is a defect, shown by a gauge and said once a change."""
    counts = metrics.balance()
    difference = 2 * counts["consumed"] - sum(counts.values())
    if difference and difference != value_of(metrics.balance_difference):
        logger.error("the numbers do not balance, %d frames are not accounted for: %s", difference, counts)
    metrics.balance_difference.set(difference)
