"""What is decoded ahead, on the real stages: shared by partition, given back whatever becomes of a frame."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from riverlens_worker import batcher, decode_pool
from riverlens_worker.decode_pool import Decoded, decode_frame
from riverlens_worker.messages import LeasedFrame
from riverlens_worker.reference_uri import Location
from riverlens_worker.references.failures import FetchError
from riverlens_worker.references.fetcher import Fetcher
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.membership import Membership
from riverlens_worker.target import Target
from tests.harness.assembled import assembled
from tests.worker_parts import ENCODED, FIXED, encode, scene

JPEG = encode(scene(), "JPEG")


async def test_no_partition_takes_more_than_its_share() -> None:
    """One backlog may be ahead as far as there is room; each that comes later still has its share."""
    async with assembled(WorkerSettings(max_batch_size=32, decode_threads=1), ENCODED) as line:
        most = 32 + line.stages.decode_pool.at_once
        for partition in range(3):
            line.put(partition, [JPEG] * 100)
            await line.settled()
            assert line.ahead()[partition] == most // (partition + 1)
        assert line.ahead()[0] == most, "what came later cost nobody a place"
        for _ in range(4):
            shared = await line.answer(await line.take())
            assert set(shared.values()) <= {10, 11}, "a call is shared out by turns"
            await line.settled()
            ahead = line.ahead()
            assert max(ahead[1], ahead[2]) <= most // 3
        await line.drained()
        assert line.outcomes() == {"published": 300}
        assert line.kafka.published == {partition: list(range(100)) for partition in range(3)}


async def test_backlogs_that_begin_together_are_ahead_alike() -> None:
    """No partition is further ahead than its share, or a turn where that is more."""
    settings = WorkerSettings(max_batch_size=8, decode_threads=1)
    async with assembled(settings, ENCODED) as line:
        for partition in range(6):
            line.put(partition, [JPEG] * 20)
        await line.settled()
        ahead = line.ahead()
        assert sum(ahead.values()) >= 8
        assert set(ahead) == set(range(6))
        assert max(ahead.values()) <= line.state.admission.QUANTUM_FRAMES
        await line.drained()
        assert line.outcomes() == {"published": 120}


@pytest.mark.parametrize("target", [ENCODED, FIXED], ids=["encoded", "pixels"])
@pytest.mark.parametrize(
    "freshness", [(), ("camera-2=latest_only:60s", "camera-3=max_age:60s")], ids=["all", "live"]
)
async def test_whatever_becomes_of_a_frame_its_place_is_given_back(
    target: Target, freshness: tuple[str, ...]
) -> None:
    """Broken, superseded, stale or fenced: afterwards nothing is ahead, and no room is taken."""
    settings = WorkerSettings(max_batch_size=4, decode_threads=2, freshness=freshness)
    async with assembled(settings, target) as line:
        line.put(0, [JPEG, b"no image"] * 10)
        line.put(1, [JPEG] * 60)
        line.put(2, [JPEG] * 20)
        line.put(3, [JPEG] * 5, age_s=120)
        await line.until(line.stages.batcher.full, "a batch waits")
        membership = Membership(line.state, line.source._committer)
        revoking = asyncio.create_task(membership.on_partitions_revoked([TopicPartition("frames", 1)]))
        await line.drained()
        await revoking
        assert [lease.partition for lease in line.state.leases] == [0, 2, 3]
        outcomes = line.outcomes()
        assert outcomes["dead_lettered"] == 10
        assert outcomes["fenced"] == 60
        assert outcomes.get("dropped", 0) == (24 if freshness else 0)
        assert not line.kafka.commits.get(1), "nothing of it was published: its next owner reads all"
        line.put(0, [JPEG] * 40)
        await line.drained()
        await line.source._committer.commit()
        assert line.kafka.commits | {1: 0} == {0: 60, 1: 0, 2: 20, 3: 5}, "dropped frames are committed over"


@pytest.mark.parametrize("freshness", [(), ("max_age:60s",)], ids=["all", "fresh"])
async def test_what_was_taken_comes_back_at_the_end(freshness: tuple[str, ...]) -> None:
    """At a stop what nobody took is given up, what was taken is published; nothing is held after it."""
    settings = WorkerSettings(max_batch_size=4, decode_threads=1, freshness=freshness)
    async with assembled(settings, ENCODED) as line:
        line.put(0, [JPEG] * 50)
        await line.settled()
        line.source.end()
        await line.drained()
        assert line.outcomes() == {"published": 8, "fenced": 42}
        await line.source._committer.commit()
        assert line.kafka.commits == {0: 8}


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_published_behind_what_a_revoke_gave_up(seed: int) -> None:
    """Live frames overtake others inside the worker; no event leaves before one that is read again."""
    dice = random.Random(seed)  # noqa: S311  # the same mixtures in each run
    settings = WorkerSettings(max_batch_size=4, decode_threads=2, freshness=("live-*=latest_only:60s",))
    async with assembled(settings, ENCODED) as line:
        for _ in range(20):
            for _ in range(dice.randint(1, 6)):
                line.put(0, [JPEG], camera=dice.choice(["live-1", "live-2", "live-3", "every-1", "every-2"]))
            if dice.random() < 0.7:
                await line.answer(await line.take())
        line.put(0, [JPEG] * 30, camera="every-1")
        membership = Membership(line.state, line.source._committer)
        revoking = asyncio.create_task(membership.on_partitions_revoked([TopicPartition("frames", 0)]))
        await line.drained()
        await revoking
        outcomes, published = line.outcomes(), line.kafka.published[0]
        assert outcomes["fenced"]
        assert outcomes["dropped"]
        assert published == sorted(published)
        assert published[-1] < line.kafka.commits[0], "published, and read again all the same"
        settled = outcomes["published"] + outcomes["dropped"]
        assert line.kafka.commits[0] == settled, "all below is settled, nothing above"


@pytest.mark.parametrize("fails", [False, True], ids=["fetched", "failed"])
async def test_references_that_hang_keep_no_other_batch_waiting(
    fails: bool,  # noqa: FBT001  # a table of two
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames that no row can come of yet do not count as coming: another partition's batch leaves."""
    there = asyncio.Event()

    async def get(_: Fetcher, __: Location, ___: Location) -> bytes:
        await there.wait()
        if fails:
            raise FetchError("not there")
        return JPEG

    monkeypatch.setattr(Fetcher, "get", get)
    monkeypatch.setattr(batcher, "_FILLING_S", 300.0)
    settings = WorkerSettings(
        max_batch_size=16, decode_threads=1, reference_prefixes=(f"file://{tmp_path}/",)
    )
    async with assembled(settings, ENCODED) as line:
        most = 16 + line.stages.decode_pool.at_once + settings.max_fetches_per_host
        line.put(0, [f"file://{tmp_path}/a.jpg".encode()] * 50, content_type="text/uri-list")
        await line.until(lambda: line.ahead() == {0: most}, "references wait")
        line.put(1, [JPEG] * 50)
        await line.until(lambda: line.stages.batcher.waiting == most // 2, "the others' share is decoded")
        assert await line.answer(await line.take()) == {1: most // 2}
        there.set()
        await line.drained()
        assert line.outcomes() == ({"published": 50, "dead_lettered": 50} if fails else {"published": 100})


async def test_a_model_of_one_row_keeps_all_threads_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows a call takes, as many frames are decoded side by side as there are threads."""
    together = threading.Barrier(3)

    def decode(item: LeasedFrame, target: Target) -> Decoded:
        together.wait(timeout=60)
        return decode_frame(item, target)

    monkeypatch.setattr(decode_pool, "decode_frame", decode)
    async with assembled(WorkerSettings(max_batch_size=1, decode_threads=3), FIXED) as line:
        line.put(0, [JPEG] * 12)
        await line.drained()
        assert line.outcomes() == {"published": 12}
