"""A partition whose frame hangs for a while, beside others under load: what it costs them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import Account, settled
from tests.harness.feed import Feed, feed
from tests.harness.fixtures import StartWorker
from tests.harness.image_server import ImageServer, image_server
from tests.harness.images import jpeg
from tests.harness.topics import Put, put, watcher
from tests.harness.waiting import wait_for

STUCK = 0
"""The partition whose frame hangs."""
PER_S = 160
_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies in ms of the partitions beside the stuck one, and what became of all frames."""

    usual_p99: float
    stuck_p99: float
    usual_frames: int
    stuck_frames: int
    account: Account
    reference: tuple[int, int]

    def __str__(self) -> str:
        ratio = self.stuck_p99 / self.usual_p99
        return (
            f"p99 beside a stuck frame {self.stuck_p99:.0f} ms ({self.stuck_frames} frames), "
            f"usually {self.usual_p99:.0f} ms ({self.usual_frames} frames): ratio {ratio:.2f}"
        )


async def _pass(feeding: Feed, seconds: float) -> None:
    """Wait until the feed has sent so many seconds' worth of frames."""
    until = feeding.sent + round(seconds * PER_S)

    async def sent() -> bool:
        return feeding.sent >= until

    await wait_for(sent, what="more frames", timeout_s=4 * seconds + 30)


async def beside_a_stuck_frame(
    kafka: KafkaSettings, topics: TopicSet, workers: StartWorker, folder: Path, seconds: float
) -> Figures:
    """A reference that hangs for `seconds` in partition 0; the others' latency before and meanwhile."""
    async with image_server(folder, jpeg()) as server:
        await workers(
            topics,
            reference_prefixes=server.origin,
            reference_ca_file=server.ca_file,
            reference_timeout_ms=120_000,
        )
        async with feed(kafka, topics.frames, partitions=_PARTITIONS, per_s=PER_S) as feeding:
            await _pass(feeding, 2)
            begin_ms = time.time() * 1000
            await _pass(feeding, seconds)
            stuck_ms = time.time() * 1000
            await _get_stuck(kafka, topics, server)
            asked_ms = time.time() * 1000
            await asyncio.sleep(seconds - (time.time() * 1000 - stuck_ms) / 1000)
            free_ms = time.time() * 1000
            server.release.set()
            feeding.end()
        async with watcher(kafka, topics.group) as watch:
            count = await watch.count(topics.frames)
        account = await settled(kafka, topics, count, timeout_s=60)
    usual, stuck = _latencies(account, begin_ms, stuck_ms), _latencies(account, asked_ms, free_ms)
    (reference,) = [p for p, r in account.frames.items() if ("content-type", b"text/uri-list") in r.headers]
    usual_p99, stuck_p99 = (float(np.percentile(values, 99)) for values in (usual, stuck))
    return Figures(usual_p99, stuck_p99, len(usual), len(stuck), account, reference)


async def _get_stuck(kafka: KafkaSettings, topics: TopicSet, server: ImageServer) -> None:
    headers = [("content-type", b"text/uri-list")]
    uri = f"{server.origin}/stuck".encode()
    await put(kafka, topics.frames, [Put(uri, b"cam-0", headers, partition=STUCK)])

    async def asked() -> bool:
        return bool(server.asked)

    await wait_for(asked, what="the reference is asked for")


def _latencies(account: Account, after_ms: float, before_ms: float) -> list[float]:
    """Capture to event, in ms, of frames of the other partitions captured in that time."""
    return [
        account.events[place]["timing_ms"]["total"]
        for place, record in account.frames.items()
        if place[0] != STUCK and after_ms <= record.timestamp < before_ms
    ]
