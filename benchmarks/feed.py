"""The cameras: fills a topic, or sends frames at their times. Shell."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from benchmarks.observed import Sent
from benchmarks.scenario import Arrival, Scenario
from riverlens.kafka import KafkaSettings
from riverlens_producer.synthetic import draw_scenes

_SIZE = (640, 480)
_STREETS, _SCENES = 4, 4
_QUALITY = 85
_MAX_BATCH_BYTES = 1024 * 1024


def draw_images() -> list[bytes]:
    """Sixteen street scenes as JPEG, 640x480, some 45 kB each; the same on every machine."""
    return [
        image
        for street in range(_STREETS)
        for image in draw_scenes(f"bench-{street}", _SCENES, _SIZE, _QUALITY, lambda: None)
    ]


def camera_key(camera: int) -> bytes:
    """The record key of a camera."""
    return f"camera-{camera:02}".encode()


async def fill(
    kafka: KafkaSettings,
    topic: str,
    scenario: Scenario,
    images: Sequence[bytes],
    frames: int,
    *,
    cameras: int,
) -> None:
    """Send so many frames as fast as it goes, the first `cameras` cameras in turn."""
    producer = _producer(kafka, linger_ms=5)
    async with producer:
        for number in range(frames):
            camera = number % cameras
            image = images[number % len(images)]
            await producer.send(topic, image, **_place(scenario, camera, time.time()))
        await producer.flush()


async def pace(
    kafka: KafkaSettings,
    topic: str,
    scenario: Scenario,
    plan: Sequence[Arrival],
    images: Sequence[bytes],
) -> Sent:
    """Send each frame at its time, as a camera does: at once, whatever became of the ones before.

    A frame's timestamp is when it was really sent, so a late feed is not laid at the stack's door.
    """
    async with _producer(kafka, linger_ms=0) as producer:
        with _uncollected():
            sent = await _send_on_time(producer, topic, scenario, plan, images)
            records = [await future for future, *_ in sent]
    return Sent(
        partition=np.array([record.partition for record in records], dtype=np.int64),
        offset=np.array([record.offset for record in records], dtype=np.int64),
        camera=np.array([camera for _, camera, _, _ in sent], dtype=np.int64),
        at_s=np.array([at_s for _, _, at_s, _ in sent], dtype=np.float64),
        late_s=np.array([late_s for *_, late_s in sent], dtype=np.float64),
    )


async def _send_on_time(
    producer: AIOKafkaProducer,
    topic: str,
    scenario: Scenario,
    plan: Sequence[Arrival],
    images: Sequence[bytes],
) -> list[tuple[Any, int, float, float]]:
    """Of each frame: its acknowledgement, its camera, when it was sent and how late that was, in seconds."""
    sent: list[tuple[Any, int, float, float]] = []
    begin_s = time.time()
    for number, arrival in enumerate(plan):
        due_s = begin_s + arrival.at_s
        if (wait_s := due_s - time.time()) > 0:
            await asyncio.sleep(wait_s)
        now_s = time.time()
        image = images[number % len(images)]
        future = await producer.send(topic, image, **_place(scenario, arrival.camera, now_s))
        sent.append((future, arrival.camera, now_s, now_s - due_s))
    return sent


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection.

    All that was sent is kept to the end of the run, and a full collection of it stops every camera for up to
    100 ms: no camera does that.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _producer(kafka: KafkaSettings, *, linger_ms: int) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **kafka.client_options(), acks=1, linger_ms=linger_ms, max_batch_size=_MAX_BATCH_BYTES
    )


def _place(scenario: Scenario, camera: int, at_s: float) -> dict[str, Any]:
    return {
        "key": camera_key(camera),
        "partition": scenario.partition(camera),
        "timestamp_ms": int(at_s * 1000),
    }
