"""Producers by partition, without Kafka: how they come and end, and what is said when it refuses them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka.errors import InvalidTransactionTimeout, KafkaConnectionError

from riverlens_worker.errors import PublishError
from riverlens_worker.publisher import transactions as module
from riverlens_worker.publisher.transactions import GroupPorts, Transactions
from riverlens_worker.settings import WorkerSettings

LIVE: set[object] = set()


class Producer:
    """Starts as `FAILURES` says: one is raised for each start, until none is left."""

    failures: list[Exception]

    def __init__(self, **_: Any) -> None:
        LIVE.add(self)

    async def start(self) -> None:
        """Fail, or do nothing."""
        if self.failures:
            raise self.failures.pop()


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Transactions:
    """Transactions whose producers are those above."""

    async def end(producer: Producer, *, grace_s: float) -> None:
        assert grace_s == 0
        LIVE.discard(producer)

    async def member() -> bool:
        return True

    async def committed(_: int) -> int | None:
        return None

    LIVE.clear()
    monkeypatch.setattr(module, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(module, "end_client", end)
    settings = WorkerSettings(delivery="exactly-once", transaction_timeout_ms=3_600_000)
    return Transactions(settings, lambda _: None, lambda _: None, GroupPorts(member, committed))


async def test_a_takeover_that_failed_half_way_leaves_one_producer_a_partition(
    transactions: Transactions,
) -> None:
    """The second try ends what the first one started, and the stop ends all."""
    Producer.failures = [KafkaConnectionError()]
    with pytest.raises(KafkaConnectionError):
        await transactions.take_over(range(4))
    assert len(LIVE) == 3
    await transactions.take_over(range(4))
    assert len(LIVE) == 4
    await transactions.stop(1)
    assert not LIVE


async def test_too_long_transactions_name_their_setting(transactions: Transactions) -> None:
    """Kafka's refusal of the timeout ends the takeover with the setting to change: no try would mend it."""
    Producer.failures = [InvalidTransactionTimeout()]
    with pytest.raises(PublishError, match=r"transaction_timeout_ms \(3600000\).*transaction.max.timeout.ms"):
        await transactions.take_over([0])
    assert not LIVE


async def test_a_stop_waits_for_no_client_that_does_not_end(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Kafka away a client may look for its coordinator for ever: the stop keeps its own time."""
    ended: list[float] = []

    async def never(_: Producer, *, grace_s: float) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(grace_s)

    Producer.failures = []
    await transactions.take_over([0, 1])
    monkeypatch.setattr(module, "end_client", never)
    began_s = time.monotonic()
    await transactions.stop(0.1)
    assert 1 < time.monotonic() - began_s < 30
    assert ended == [0, 0]
