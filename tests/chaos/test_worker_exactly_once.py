"""Workers frozen in mid-transaction: what a read_committed reader sees, and for how long it waits."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import all_committed, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.reader import Reader, reader
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

ROUNDS = 6
ONCE: dict[str, Any] = {"delivery": "exactly-once", "transaction_interval_ms": 20}
SESSION_S = 6.0
TAKEOVER_S = 30.0
MOST_STALL_S = SESSION_S + 6.0


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
    async with (
        reader(kafka, topic_set.events, committed=True) as seen,
        feed(kafka, topic_set.frames, per_s=400) as feeding,
    ):
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
    stall_s = max(seen.partition_longest_s.values())
    print(  # noqa: T201  # the figures
        f"{len(account.frames)} frames, {ROUNDS} freezes, {fenced} times found out of the group, "
        f"{account.repeats} repeats, a reader's partition stood still for {stall_s:.1f} s"
    )
    account.check()
    assert stall_s < MOST_STALL_S
