"""Frames in, events out: the worker on a real Kafka and a real TensorFlow model."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from riverlens.kafka import KafkaSettings
from riverlens.times import from_rfc3339
from tests.conftest import MakeTopics, TopicSet
from tests.harness.account import camera_of, settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import BLUE, GREEN, RED, jpeg
from tests.harness.topics import Put, put, read_all, watcher
from tests.harness.waiting import wait_for

CAMERAS = {b"lobby": RED, b"yard": GREEN, "höhe".encode(): BLUE, b"gate": RED, b"dock": GREEN, b"roof": BLUE}
CLASS_OF = {RED: 1, GREEN: 2, BLUE: 3}
ROUNDS = 100


def _frames(started_ms: int) -> list[Put]:
    images = {colour: jpeg(colour) for colour in CLASS_OF}
    return [
        Put(
            images[colour],
            key,
            [("sequence", b"%d" % n), ("frame-id", b"f%d" % n)],
            timestamp_ms=started_ms + n,
        )
        for n in range(ROUNDS)
        for key, colour in CAMERAS.items()
    ]


@pytest.mark.parametrize("signature", ["serving_default", "encoded_image_string"])
async def test_every_frame_of_every_camera_has_its_event(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, signature: str
) -> None:
    """Each frame of six cameras gives one event: same partition, in order, right camera, box and times."""
    started_ms = time.time_ns() // 1_000_000
    await put(kafka, topic_set.frames, _frames(started_ms))
    worker = await workers(topic_set, signature=signature)
    account = await settled(kafka, topic_set, ROUNDS * len(CAMERAS))
    account.check()
    assert len(account.events) == ROUNDS * len(CAMERAS)
    for place, body in account.events.items():
        _check_body(body, account.frames[place], signature)
    sizes = [body["batch"]["size"] for body in account.events.values()]
    assert max(sizes) > 8, "a backlog must fill batches"
    counts = await worker.at_rest()
    assert counts["published"] == counts["consumed"] == len(account.frames)
    assert await worker.stop() == 0
    async with watcher(kafka, topic_set.group) as watch:
        assert await watch.committed(topic_set.frames) == await watch.ends(topic_set.frames)


def _check_body(body: dict[str, Any], frame: Any, signature: str) -> None:
    camera = camera_of(frame)
    assert body["camera_id"] == camera
    assert from_rfc3339(body["captured_at"]) == frame.timestamp
    assert body["frame_id"] == f"f{body['sequence']}"
    assert body["image"] == {"width": 32, "height": 24}
    assert body["model"] == {"name": "colour", "version": 1, "signature": signature}
    (found,) = body["detections"]
    assert found["class_id"] == CLASS_OF[CAMERAS[camera.encode()]]
    assert found["box_px"] == {"x1": 0, "y1": 0, "x2": 32, "y2": 24}
    timing = body["timing_ms"]
    assert all(value >= 0 for value in timing.values())
    parts = timing["broker"] + timing["queue"] + timing["decode"] + timing["predict"]
    assert parts <= timing["total"] + 5, timing
    assert timing["total"] < 60_000


async def test_an_idle_worker_answers_a_single_frame_at_once(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """A frame that comes alone leaves alone, without a linger, under the reason device_free."""
    await workers(topic_set)
    await put(kafka, topic_set.frames, [Put(jpeg(), b"lobby")])
    account = await settled(kafka, topic_set, 1)
    account.check()
    ((_, body),) = account.events.items()
    assert body["batch"] == {"size": 1, "reason": "device_free"}
    assert body["frame_id"] is None
    assert body["sequence"] is None
    assert body["timing_ms"]["queue"] < 10_000


async def test_other_partition_counts_keep_each_cameras_order(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """With fewer event partitions than frame partitions events go by key, each camera's in order."""
    topics = await make_topics(partitions=6)
    narrow = await make_topics(partitions=2)
    split = TopicSet(topics.frames, narrow.events, topics.dlq, topics.group, topics.settings)
    images = [Put(jpeg(), b"cam-%d" % (n % 9), [("sequence", str(n // 9).encode())]) for n in range(270)]
    await put(kafka, split.frames, images)
    await workers(split)
    async with watcher(kafka, split.group) as watch:

        async def done() -> bool:
            return await watch.count(split.events) >= len(images)

        await wait_for(done, what="all events")
    await _check_camera_order(kafka, split)


async def _check_camera_order(kafka: KafkaSettings, topics: TopicSet) -> None:
    sequences: dict[str, list[int]] = {}
    homes: dict[str, set[int]] = {}
    for record in await read_all(kafka, topics.events):
        body = orjson.loads(record.value)
        sequences.setdefault(body["camera_id"], []).append(body["sequence"])
        homes.setdefault(body["camera_id"], set()).add(record.partition)
    assert len(sequences) == 9
    assert all(found == list(range(30)) for found in sequences.values())
