"""Live cameras through an outage of the model server: what each policy makes of it, in figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType

from aiokafka import AIOKafkaProducer

from riverlens.event import EVENT_TYPE
from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import Account, Place, all_committed, camera_of, headers_of, take_account
from tests.harness.away import kill_for, started_again
from tests.harness.images import jpeg
from tests.harness.topics import producer, read_all
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker
from tests.model_servers import RunningServer

FRESHNESS = "live-*=latest_only,aged-*=max_age:2s"
CAMERAS = {
    "live-mixed": 0,
    "every-mixed": 0,
    "live-1": 1,
    "live-2": 1,
    "live-3": 1,
    "aged-1": 2,
    "aged-2": 2,
    "every-aged": 3,
    "aged-3": 3,
}
"""Partition of each camera: policies mixed, and each by itself."""


@asynccontextmanager
async def cameras(
    kafka: KafkaSettings,
    topic: str,
    where: Mapping[str, int],
    *,
    per_s: float = 10,
    behind_ms: Mapping[str, int] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Every camera sends a frame `per_s` times a second while the block runs; at its end Kafka has all.

    `behind_ms`: by how much a camera's clock is behind.
    """
    ended = asyncio.Event()

    async def send(running: AIOKafkaProducer, number: int) -> None:
        image, headers, now_ms = jpeg(), [("sequence", b"%d" % number)], time.time_ns() // 1_000_000
        for camera, partition in where.items():
            timestamp_ms, key = now_ms - behind_ms.get(camera, 0), camera.encode()
            await running.send(
                topic, image, key=key, partition=partition, headers=headers, timestamp_ms=timestamp_ms
            )

    async def go_on() -> None:
        # Stopped, a producer sends all that it has taken.
        async with producer(kafka) as running:
            for number in count():
                await send(running, number)
                try:
                    async with asyncio.timeout(1 / per_s):
                        await ended.wait()
                        return
                except TimeoutError:
                    continue

    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        try:
            yield
        finally:
            ended.set()


@dataclass(frozen=True)
class Outage:
    """What came of it.

    Attributes:
        back_ms: wall clock when the server was ready again.
        account: every frame's outcome, where drops are published.
        counts: the worker's balance at the end; samples: its metrics.
    """

    away_s: float
    back_ms: int
    account: Account
    counts: Mapping[str, float]
    samples: Mapping[str, float]

    def places(self, camera: str) -> list[Place]:
        """A camera's frames in their order."""
        return sorted(place for place, record in self.account.frames.items() if camera_of(record) == camera)

    def first_after(self, camera: str) -> tuple[int, int]:
        """Of the camera's first event after the outage: ms from capture to the call, and to the event."""
        account = self.account
        written_ms, place = min(
            (account.written_ms[place], place)
            for place in self.places(camera)
            if place in account.events and account.written_ms[place] >= self.back_ms
        )
        timing_ms = account.events[place]["timing_ms"]
        sent_ms = int(timing_ms["broker"] + timing_ms["queue"] + timing_ms["decode"])
        return sent_ms, int(written_ms - account.frames[place].timestamp)

    def check(self, live_ms: int = 2_000) -> None:
        """Live cameras go straight to live, patient ones get all, and the numbers balance; prints figures.

        `live_ms`: the oldest that a live camera's first frame may be when its call begins.
        """
        account, counts = self.account, self.counts
        ages = {camera: self.first_after(camera) for camera in CAMERAS}
        told = ", ".join(f"{camera} {sent_ms}/{age_ms}" for camera, (sent_ms, age_ms) in ages.items())
        print(f"\naway {self.away_s:.0f} s and a start; first event after it, ms from capture")  # noqa: T201  # figures
        print(f"to the call/to the event: {told}\n{len(account.frames)} frames: {dict(counts)}")  # noqa: T201  # figures
        assert account.inversions == account.repeats == 0
        assert not account.letters
        for camera, (sent_ms, _) in ages.items():
            got = [place in account.events for place in self.places(camera)]
            if camera.startswith("every"):
                assert all(got), f"{camera}: {got.count(False)} of {len(got)} frames without event"
            else:
                # How long a server's first call takes, and the events that go before, are not the policy's.
                assert sent_ms <= (live_ms if camera.startswith("live") else 3_000), camera
                assert not all(got), f"{camera}: nothing was dropped"
        self._check_balance()

    def _check_balance(self) -> None:
        counts, samples = self.counts, self.samples
        assert counts["consumed"] == len(self.account.frames)
        assert counts["published"] == len(self.account.events)
        assert not self.account.drops or (
            counts["dropped"] == len(self.account.drops) and not self.account.missing
        )
        assert counts["published"] + counts["dropped"] == counts["consumed"]
        assert counts["in_flight"] == samples["riverlens_balance_difference"] == 0
        by_reason = {
            reason: sum(
                value
                for name, value in samples.items()
                if name.startswith("riverlens_camera_drops_total{") and f"reason={reason}}}" in name
            )
            for reason in ("stale", "superseded")
        }
        print(f"dropped: {by_reason}")  # noqa: T201  # figures
        for reason, dropped in by_reason.items():
            assert samples[f"riverlens_frames_total{{outcome=dropped,reason={reason}}}"] == dropped
        assert sum(by_reason.values()) == counts["dropped"]


async def outage(
    kafka: KafkaSettings, topics: TopicSet, worker: Worker, server: RunningServer, *, away_s: float
) -> Outage:
    """Live cameras all along; the model server is killed and back after `away_s`; all frames settled."""

    async def flowing() -> bool:
        return (await worker.balance())["published"] > 5 * len(CAMERAS)

    async with AsyncExitStack() as stack:
        async with cameras(kafka, topics.frames, CAMERAS):
            await wait_for(flowing, what="events flow")
            await kill_for(worker, server, away_s)
            wait_ready = await stack.enter_async_context(started_again(server))
            await asyncio.to_thread(wait_ready)
            back_ms = time.time_ns() // 1_000_000

            async def on_again() -> bool:
                return await _cameras_since(kafka, topics, back_ms) == CAMERAS.keys()

            await wait_for(on_again, what="events of every camera", timeout_s=60)
        await all_committed(kafka, topics)
        counts, samples = await worker.at_rest(), await worker.metrics()
    account = await take_account(kafka, topics, committed=True)
    return Outage(away_s, back_ms, account, counts, samples)


async def _cameras_since(kafka: KafkaSettings, topics: TopicSet, since_ms: int) -> set[str]:
    """The cameras that have an event written after that time."""
    records = await read_all(kafka, topics.events, committed=True)
    events = [record for record in records if headers_of(record)["ce_type"] == EVENT_TYPE]
    return {record.key.decode() for record in events if record.timestamp > since_ms}
