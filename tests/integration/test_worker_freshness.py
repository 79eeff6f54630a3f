"""Freshness policies on a real line: an outage of the model server, live cameras all along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import all_committed, settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.live import FRESHNESS, cameras, outage
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for

AWAY_S = 2.0


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_live_cameras_are_live_at_once_and_patient_ones_lose_nothing(
    delivery: str, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """After an outage each camera has what its policy says; each frame one outcome, told in its order."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(
            topic_set, server=own.address, freshness=FRESHNESS, publish_drops=True, delivery=delivery
        )
        story = await outage(topic_set.settings.kafka, topic_set, worker, own, away_s=AWAY_S)
    story.check()
    assert story.account.drops
    story.account.check()


async def test_a_camera_whose_clock_is_behind_is_not_dropped_for_it(
    topic_set: TopicSet, workers: StartWorker
) -> None:
    """Five seconds behind, it loses its frames until that is known, which is told once."""
    kafka = topic_set.settings.kafka
    worker = await workers(topic_set, freshness="latest_only")
    async with cameras(kafka, topic_set.frames, {"right": 0, "behind": 1}, behind_ms={"behind": 5_000}):

        async def flows() -> bool:
            samples = await worker.metrics()
            return samples.get("riverlens_camera_frames_total{camera=behind}", 0) > 5

        await wait_for(flows, what="events of the camera whose clock is behind")
    await all_committed(kafka, topic_set)
    samples = await worker.metrics()
    assert samples["riverlens_camera_skew_seconds{camera=behind}"] == pytest.approx(5.0, abs=1.0)
    assert "riverlens_camera_skew_seconds{camera=right}" not in samples
    assert samples["riverlens_camera_drops_total{camera=behind,reason=stale}"] > 10
    assert worker.log().count("camera behind: its clock is behind") == 1


async def test_a_new_group_of_live_cameras_begins_with_what_comes_now(
    topic_set: TopicSet, workers: StartWorker
) -> None:
    """With `latest_only` for all, frames from before the group's first start are not read at all."""
    kafka = topic_set.settings.kafka
    await put(kafka, topic_set.frames, [Put(jpeg(), partition=0)] * 20)
    worker = await workers(topic_set, freshness="latest_only:60s")

    async def owns() -> bool:
        return (await worker.metrics())["riverlens_partitions"] == 4

    await wait_for(owns, what="the worker has its partitions")
    await put(kafka, topic_set.frames, [Put(jpeg(), partition=0)])
    account = await settled(kafka, topic_set, 1)
    assert list(account.events) == [(0, 20)]
    assert (await worker.balance())["consumed"] == 1
