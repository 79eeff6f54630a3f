"""The lag that the worker shows, where Kafka's answers change behind its back, and who counts as behind."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.metrics import Metrics, value_of
from riverlens_worker.offsets import StallGuard
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.lag import LagWatch
from riverlens_worker.source.state import SourceState


class Consumer:
    """Says of every partition that it begins at `begins` and ends at 10."""

    def __init__(self) -> None:
        self.begins = 0

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where they end."""
        return dict.fromkeys(partitions, 10)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where they begin."""
        return dict.fromkeys(partitions, self.begins)


@pytest.mark.parametrize(
    ("begins", "lags"),
    [([0, 4, 10], [7, 6, 0]), ([10, 0, 0], [0, 0, 0])],
    ids=["retention", "retention, then a crash that forgets it"],
)
async def test_what_was_removed_waits_no_more(begins: list[int], lags: list[float]) -> None:
    """Three of ten frames are read; retention removes some of the rest, and a crash may bring them back."""
    consumer, metrics = Consumer(), Metrics(CollectorRegistry())
    leases = LeaseTable("frames", Room(8, 1 << 20, 1 << 20))
    leases.assign(0, 3)
    state: Any = SimpleNamespace(
        consumer=consumer,
        metrics=metrics,
        leases=leases,
        topic_partition=lambda lease: TopicPartition(lease.topic, lease.partition),
    )
    watch, found = LagWatch(state), []
    for consumer.begins in begins:
        await watch._ask()
        found.append(value_of(metrics.lag_frames("0")))
    assert found == lags


@pytest.mark.parametrize(
    ("ends", "differs", "beside"),
    [
        ((1000, 4), {}, True),
        ((1000, 4), {"read_ago_s": 60.0}, False),
        ((1000, 1000), {}, False),
        ((4, 4), {}, False),
        ((34, 4), {}, False),
        ((35, 4), {}, True),
        ((1000, 4), {"full": True}, False),
        ((None, 4), {}, False),
        ((1000, 4), {"removed_to": 1000}, False),
    ],
    ids=[
        "one behind",
        "nobody else in use",
        "all behind",
        "none behind",
        "a call's rows behind",
        "one more behind",
        "the other full",
        "unknown",
        "removed",
    ],
)
def test_a_partition_is_behind_beside_one_that_keeps_up(
    ends: tuple[int | None, int], differs: dict[str, Any], *, beside: bool
) -> None:
    """Behind: Kafka holds more than a call's rows of it. Another one has to be in use, and with room."""
    consumer = SimpleNamespace(highwater=lambda tp: ends[tp.partition])
    leases = LeaseTable("frames", Room(8, 1 << 20, 1 << 20))
    state = SourceState(
        settings=WorkerSettings(),
        metrics=Metrics(CollectorRegistry()),
        consumer=consumer,
        leases=leases,
        guard=StallGuard(session_timeout_s=6, heartbeat_s=1, now_s=0.0),
        group=SimpleNamespace(),  # type: ignore[arg-type]  # nothing is asked of it here
    )
    leases.assign(0, 2).removed_to = differs.get("removed_to", 0)
    second = leases.assign(1, 2)
    second.read_s, second.full = state.now_s() - differs.get("read_ago_s", 1.0), differs.get("full", False)
    assert state.beside_backlog(32) is beside
