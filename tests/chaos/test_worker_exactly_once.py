"""Workers frozen in mid-transaction: what a read_committed reader sees, and for how long it waits."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import all_committed, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

ROUNDS = 6
ONCE: dict[str, Any] = {"delivery": "exactly-once", "transaction_interval_ms": 20}
SESSION_S = 6.0
TAKEOVER_S = 30.0
MOST_STALL_S = SESSION_S + 6.0


class Reader:
    """A read_committed consumer; the longest time each partition stood still while others went on."""

    def __init__(self) -> None:
        self.seen = 0
        self._last_s: dict[int, float] = {}
        self.stalls_s: dict[int, float] = {}

    def take(self, partition: int, count: int) -> None:
        """Records came from a partition now."""
        now_s = time.monotonic()
        waited_s = now_s - self._last_s.get(partition, now_s)
        self.stalls_s[partition] = max(self.stalls_s.get(partition, 0.0), waited_s)
        self._last_s[partition] = now_s
        self.seen += count


@asynccontextmanager
async def reader(kafka: KafkaSettings, topic: str) -> AsyncIterator[Reader]:
    """Read committed events while the block runs."""
    found = Reader()
    async with AIOKafkaConsumer(
        topic, **kafka.client_options(), auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:

        async def read() -> None:
            while True:
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    found.take(tp.partition, len(records))

        task = asyncio.create_task(read())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _holds(worker: Worker, partitions: int) -> None:
    async def held() -> bool:
        return (await worker.metrics())["riverlens_partitions"] == partitions

    await wait_for(held, what=f"a worker holds {partitions} partitions", timeout_s=TAKEOVER_S)


async def _more(seen: Reader, count: int) -> None:
    least = seen.seen + count

    async def flowing() -> bool:
        return seen.seen >= least

    await wait_for(flowing, what="committed events flow")


async def test_workers_frozen_in_mid_transaction(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """SIGSTOP past the session, takeover, SIGCONT, six times: 0 repeats, 0 lost; readers wait < 12 s."""
    running = [await workers(topic_set, **ONCE), await workers(topic_set, **ONCE)]
    async with reader(kafka, topic_set.events) as seen, feed(kafka, topic_set.frames, per_s=400) as feeding:
        for number in range(ROUNDS):
            frozen, other = running[number % 2], running[1 - number % 2]
            await _holds(frozen, 2)
            await _more(seen, 200)
            frozen.send_signal(signal.SIGSTOP)
            await _holds(other, 4)
            await _more(seen, 200)
            frozen.send_signal(signal.SIGCONT)
        await _holds(running[0], 2)
        feeding.end()
    await all_committed(kafka, topic_set)
    for worker in running:
        await worker.balance()
        assert await worker.stop() == 0
    account = await take_account(kafka, topic_set, committed=True)
    fenced = sum(worker.log().count("its frames are fenced") for worker in running)
    print(  # noqa: T201  # the figures
        f"{len(account.frames)} frames, {ROUNDS} freezes, {fenced} times found out of the group, "
        f"{account.repeats} repeats, a reader's partition stood still for {max(seen.stalls_s.values()):.1f} s"
    )
    account.check()
    assert max(seen.stalls_s.values()) < MOST_STALL_S
