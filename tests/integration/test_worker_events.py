"""What events hold and which frames have one: filters, zones and changes on a real Kafka and a real model."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import TopicSet
from tests.harness.account import Account, all_committed, settled, take_account
from tests.harness.fixtures import StartWorker
from tests.harness.images import BLUE, GREEN, RED, jpeg
from tests.harness.topics import Put, put

RUNS = ((RED, 7), (GREEN, 5), (RED, 1), (BLUE, 9), (GREEN, 3))
"""What each camera sees: a colour, which the model takes for a class, for so many frames."""
CAMERAS = (b"lobby", b"yard", b"gate-1")
FRAMES = sum(count for _, count in RUNS)
FIRST = [sum(count for _, count in RUNS[:n]) for n in range(len(RUNS))]
"""The frames of a camera with which its colour changes."""


def _frames() -> list[Put]:
    images = {colour: jpeg(colour) for colour in (RED, GREEN, BLUE)}
    seen = [colour for colour, count in RUNS for _ in range(count)]
    now_ms = time.time_ns() // 1_000_000
    return [
        Put(images[colour], camera, [("sequence", b"%d" % n)], timestamp_ms=now_ms + 10 * n)
        for n, colour in enumerate(seen)
        for camera in CAMERAS
    ]


def _sequences(bodies: dict[Any, dict[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for body in bodies.values():
        found.setdefault(body["camera_id"], []).append(body["sequence"])
    return {camera: sorted(numbers) for camera, numbers in found.items()}


def _check_changes(account: Account) -> None:
    account.check()
    assert _sequences(account.events) == {camera.decode(): FIRST for camera in CAMERAS}
    assert {body["reason"] for body in account.drops.values()} == {"unchanged"}
    assert len(account.drops) == len(CAMERAS) * (FRAMES - len(FIRST))


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_only_changes_are_events_and_the_balance_holds(
    delivery: str, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Each camera's first frame and each change has an event, the rest a drop; consumed is their sum."""
    kafka = topic_set.settings.kafka
    await put(kafka, topic_set.frames, _frames())
    worker = await workers(topic_set, events="changes", publish_drops=True, delivery=delivery)
    await all_committed(kafka, topic_set)
    _check_changes(await take_account(kafka, topic_set, committed=True))
    counts = await worker.at_rest()
    assert counts["consumed"] == FRAMES * len(CAMERAS)
    assert counts["published"] == len(FIRST) * len(CAMERAS)
    assert counts["published"] + counts["dropped"] == counts["consumed"]
    samples = await worker.metrics()
    unchanged = samples["riverlens_frames_total{outcome=dropped,reason=unchanged}"]
    assert unchanged == counts["dropped"]


async def test_drops_that_nobody_reads_are_only_counted(topic_set: TopicSet, workers: StartWorker) -> None:
    """Without `publish_drops` the changes alone are on Kafka; all offsets are committed, a stop's too."""
    kafka = topic_set.settings.kafka
    await put(kafka, topic_set.frames, _frames())
    worker = await workers(topic_set, events="changes")
    await all_committed(kafka, topic_set)
    assert await worker.stop() == 0
    account = await take_account(kafka, topic_set)
    assert _sequences(account.events) == {camera.decode(): FIRST for camera in CAMERAS}
    assert not account.drops
    again = await workers(topic_set, events="changes")
    await put(kafka, topic_set.frames, [Put(jpeg(GREEN), camera) for camera in CAMERAS])
    await all_committed(kafka, topic_set)
    assert (await again.balance())["published"] == len(CAMERAS), "after a restart the first frames are events"


async def test_filters_and_zones_choose_what_events_hold(topic_set: TopicSet, workers: StartWorker) -> None:
    """Every frame has its event; what is left in it has the label asked for, and tells its camera's zones."""
    kafka = topic_set.settings.kafka
    await put(kafka, topic_set.frames, _frames())
    zones = (
        '[{"name": "ground", "cameras": "lobby", "points": [[0, 0.9], [1, 0.9], [1, 1], [0, 1]]},'
        ' {"name": "sky", "cameras": "[ly]*", "points": [[0, 0], [1, 0], [1, 0.1], [0, 0.1]]}]'
    )
    await workers(topic_set, only_labels="class-1,class-2", skip_labels="class-2", zones=zones)
    account = await settled(kafka, topic_set, FRAMES * len(CAMERAS))
    account.check()
    assert len(account.events) == FRAMES * len(CAMERAS)
    found = [(body["camera_id"], each) for body in account.events.values() for each in body["detections"]]
    assert len(found) == len(CAMERAS) * sum(count for colour, count in RUNS if colour == RED)
    assert {each["class_id"] for _, each in found} == {1}
    told = {camera: each.get("zones") for camera, each in found}
    assert told == {"lobby": ["ground"], "yard": [], "gate-1": None}
