"""Kill -9 of a random part, again and again: of three workers, the model server, three brokers."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from riverlens.broker import EmbeddedBroker
from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import MakeTopics, TopicSet
from tests.harness.account import all_committed, take_account
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.topics import Watcher, watcher
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(580)]

ROUNDS = int(os.environ.get("RIVERLENS_TEST_KILLS", "20"))
PARTITIONS = 12
WORKERS = 3
RATE_PER_S = 240
BACK_S = 45.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """Three brokers of this test's own, replication 3."""
    data = tmp_path / "kafka"
    data.mkdir()
    with EmbeddedBroker(brokers=3, data_dir=data) as running:
        yield running


class ModelServer:
    """The embedded model server on one port, killed and started again."""

    def __init__(self, folder: Path, base: Path) -> None:
        self._folder = folder
        self._flags = ("--model_name=colour", f"--model_base_path={base}")
        self._starts = 0
        self._running = self._start()
        self.address = self._running.address

    def _start(self, port: str = "auto") -> model_servers.RunningServer:
        self._starts += 1
        log = self._folder / f"server-{self._starts}.log"
        process = model_servers.start(log, *self._flags, f"--port={port}")
        return model_servers.wait_ready(process, log)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        with self._running.process as process:
            process.kill()

    def restart(self) -> None:
        """Start it on its port."""
        self._running = self._start(self.address.rsplit(":", 1)[1])


@pytest.fixture
async def model(tmp_path: Path, colour_model: Path) -> AsyncIterator[ModelServer]:
    """A model server of this test's own."""
    server = await asyncio.to_thread(ModelServer, tmp_path, colour_model)
    yield server
    server.kill()


@dataclass(slots=True)
class Line:
    """All parts of a line, and how long each of its kinds kept events waiting."""

    broker: EmbeddedBroker
    model: ModelServer
    topics: TopicSet
    watch: Watcher
    start: Callable[[], Awaitable[Worker]]
    workers: list[Worker] = field(default_factory=list)
    pauses_s: dict[str, list[float]] = field(
        default_factory=lambda: {"worker": [], "model server": [], "broker": []}
    )

    async def more_events(self, more: int) -> float:
        """Wait for `more` further records on the events topic; returns the seconds it took."""
        started_s, before = time.monotonic(), await self.watch.count(self.topics.events)

        async def came() -> bool:
            return await self.watch.count(self.topics.events) >= before + more

        await wait_for(came, what=f"{more} more events", timeout_s=BACK_S)
        return time.monotonic() - started_s

    async def kill_one(self, dice: random.Random) -> None:
        """Kill -9 of a part, and a new one in its place; a broker only once events flow without it."""
        part = dice.choice(tuple(self.pauses_s))
        if part == "worker":
            self.workers.pop(dice.randrange(WORKERS)).kill()
            self.workers.append(await self.start())
        elif part == "model server":
            await asyncio.to_thread(self.model.kill)
            await asyncio.to_thread(self.model.restart)
        else:
            node = dice.choice(self.broker.running)
            await asyncio.to_thread(self.broker.kill, node)
            self.pauses_s[part].append(await self.more_events(50))
            await asyncio.to_thread(self.broker.start, node)
        self.pauses_s[part].append(await self.more_events(50))


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_a_random_part_is_killed_again_and_again(  # noqa: PLR0917  # fixtures
    broker: EmbeddedBroker,
    kafka: KafkaSettings,
    make_topics: MakeTopics,
    workers: StartWorker,
    model: ModelServer,
    delivery: str,
) -> None:
    """Twenty kill -9 of a random part: 0 lost, 0 out of order; exactly once also 0 repeats."""
    dice = random.Random(f"kills {delivery}")  # noqa: S311  # what and when, the same in each run
    topics = await make_topics(partitions=PARTITIONS)
    start = partial(workers, topics, server=model.address, delivery=delivery)
    async with (
        watcher(kafka, topics.group) as watch,
        feed(kafka, topics.frames, partitions=PARTITIONS, per_s=RATE_PER_S) as feeding,
    ):
        line = Line(broker, model, topics, watch, start, [await start() for _ in range(WORKERS)])
        for _ in range(ROUNDS):
            await line.more_events(dice.randrange(20, 300))
            await line.kill_one(dice)
        feeding.end()
    await all_committed(kafka, topics, timeout_s=90)
    for worker in line.workers:
        await worker.balance()
        assert await worker.stop() == 0
    account = await take_account(kafka, topics, committed=delivery == "exactly-once")
    worst = {part: round(max(times, default=0.0), 1) for part, times in line.pauses_s.items()}
    print(  # noqa: T201  # the figures
        f"{delivery}: {len(account.frames)} frames, {ROUNDS} kills, {account.repeats} repeats, "
        f"{account.inversions} inversions, longest wait for 50 events, seconds: {worst}"
    )
    account.check(repeats=0 if delivery == "exactly-once" else None)
    assert not account.letters
