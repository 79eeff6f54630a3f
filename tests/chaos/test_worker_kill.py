"""Workers killed, frozen, joined and left under load: nothing lost, nothing out of order."""

from __future__ import annotations

import random
import signal
import time

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import Account, all_committed, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.reader import reader
from tests.harness.topics import Watcher, watcher
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

KILLS = 8
CHANGES = 30
TAKEOVER_S = 30.0


async def _more_events(watch: Watcher, topics: TopicSet, more: int) -> float:
    """Wait for `more` further events; returns the seconds it took."""
    started_s, before = time.monotonic(), await watch.count(topics.events)

    async def came() -> bool:
        return await watch.count(topics.events) >= before + more

    await wait_for(came, what=f"{more} more events", timeout_s=TAKEOVER_S)
    return time.monotonic() - started_s


async def _all_settled(
    kafka: KafkaSettings, topics: TopicSet, workers: list[Worker], *, committed: bool = False
) -> Account:
    """Wait until the group has committed every frame, stop the workers, take account."""
    await all_committed(kafka, topics)
    for worker in workers:
        await worker.balance()
        assert await worker.stop() == 0
    return await take_account(kafka, topics, committed=committed)


async def test_workers_killed_again_and_again(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Eight kill -9 among two workers under load: each frame has its event, repeats equal ids, in order."""
    dice = random.Random(7)  # noqa: S311  # which worker and when, the same in each run
    running = [await workers(topic_set), await workers(topic_set)]
    async with watcher(kafka, topic_set.group) as watch, feed(kafka, topic_set.frames) as feeding:
        for _ in range(KILLS):
            await _more_events(watch, topic_set, dice.randrange(20, 400))
            running.pop(dice.randrange(2)).kill()
            running.append(await workers(topic_set))
        feeding.end()
    account = await _all_settled(kafka, topic_set, running)
    account.check(repeats=None)
    print(f"{len(account.frames)} frames, {KILLS} kills, {account.repeats} repeats")  # noqa: T201  # the figures


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_joins_and_leaves_under_load(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, delivery: str
) -> None:
    """Thirty joins and leaves under load lose nothing, and events never pause for over 10 s."""
    once = delivery == "exactly-once"
    running = [await workers(topic_set, delivery=delivery)]
    started_s = time.monotonic()
    async with (
        reader(kafka, topic_set.events, committed=once) as seen,
        watcher(kafka, topic_set.group) as watch,
        feed(kafka, topic_set.frames) as feeding,
    ):
        for number in range(CHANGES):
            if number % 2:
                leaver = running.pop(0)
                assert await leaver.stop() == 0
            else:
                running.append(await workers(topic_set, delivery=delivery))
            await _more_events(watch, topic_set, 50)
        took_s = time.monotonic() - started_s
        feeding.end()
    account = await _all_settled(kafka, topic_set, running, committed=once)
    print(  # noqa: T201  # the figures
        f"{delivery}: {len(account.frames)} frames, {CHANGES} joins and leaves in {took_s:.0f} s, "
        f"longest pause {seen.longest_s:.1f} s, {account.repeats} repeats"
    )
    account.check(repeats=0 if once else None)
    assert seen.longest_s < 10


@pytest.mark.parametrize("in_hand", ["at rest", "under load"])
async def test_a_worker_frozen_past_its_session(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, in_hand: str
) -> None:
    """SIGSTOP past the session, takeover, SIGCONT: the woken worker joins again; all there, in order."""
    frozen = await workers(topic_set)
    rate = 40 if in_hand == "at rest" else 600
    async with watcher(kafka, topic_set.group) as watch, feed(kafka, topic_set.frames, per_s=rate) as feeding:
        await _more_events(watch, topic_set, rate)
        frozen.send_signal(signal.SIGSTOP)
        other = await workers(topic_set)

        async def taken_over() -> bool:
            return (await other.metrics())["riverlens_partitions"] == 4

        await wait_for(taken_over, what="the other worker has all partitions", timeout_s=TAKEOVER_S)
        await _more_events(watch, topic_set, rate)
        frozen.send_signal(signal.SIGCONT)

        async def shared() -> bool:
            return (await frozen.metrics())["riverlens_partitions"] == 2

        await wait_for(shared, what="the woken worker is back", timeout_s=TAKEOVER_S)
        await _more_events(watch, topic_set, rate)
        feeding.end()
    account = await _all_settled(kafka, topic_set, [frozen, other])
    account.check(repeats=None)
    print(f"{len(account.frames)} frames, {account.repeats} repeats")  # noqa: T201  # the figures


async def test_frozen_workers_take_turns(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Two workers frozen for less and for more than their session, by turns: nothing lost or out of order."""
    running = [await workers(topic_set), await workers(topic_set)]
    async with watcher(kafka, topic_set.group) as watch, feed(kafka, topic_set.frames) as feeding:
        for worker, freeze_events in zip(running * 2, (100, 900, 900, 100), strict=True):
            await _more_events(watch, topic_set, 200)
            worker.send_signal(signal.SIGSTOP)
            # The other goes on with its own half, and with all once the session has run out.
            await _more_events(watch, topic_set, freeze_events)
            worker.send_signal(signal.SIGCONT)
        feeding.end()
    account = await _all_settled(kafka, topic_set, running)
    account.check(repeats=None)


async def test_a_static_member_that_outlived_its_session_exits(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Frozen past its session, a static worker wakes up, publishes nothing and ends with one clear line."""
    frozen = await workers(topic_set, group_instance_id="cam")
    async with watcher(kafka, topic_set.group) as watch, feed(kafka, topic_set.frames) as feeding:
        await _more_events(watch, topic_set, 100)
        frozen.send_signal(signal.SIGSTOP)
        other = await workers(topic_set)
        await _more_events(watch, topic_set, 100)
        frozen.send_signal(signal.SIGCONT)
        assert await frozen.ended() != 0
        assert "as a static member (group_instance_id) must start anew" in frozen.log()
        await _more_events(watch, topic_set, 100)
        feeding.end()
    account = await _all_settled(kafka, topic_set, [other])
    account.check(repeats=None)
