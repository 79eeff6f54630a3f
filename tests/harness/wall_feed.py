"""Cameras and the worker's answers for the wall, without a model: streets drawn once, their truth as events.

As a program it sends until it is ended:  python -m tests.harness.wall_feed BOOTSTRAP --cameras 16
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Sequence
from io import BytesIO

from aiokafka import AIOKafkaProducer
from PIL import Image

from riverlens import Event, Frame
from riverlens.dead_letter import Origin
from riverlens.event import Detection, Model
from riverlens.kafka import KafkaSettings
from riverlens.scenes import Street
from riverlens.scenes.truth import LABELS, SceneObject
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs

SCRIPT_CAMERA = "<script>alert(1)</script>"
SIZE = (640, 480)
_SCENES = 6
_DELAY_S = 0.08
_DROP_EVERY = 23


def scenes(camera: str, count: int, size: tuple[int, int]) -> list[tuple[bytes, Sequence[SceneObject]]]:
    """The first pictures of a camera's street as JPEG, each with what is in it."""
    street = Street(camera, *size)
    drawn: list[tuple[bytes, Sequence[SceneObject]]] = []
    for number in range(count):
        scene = street.frame(number)
        output = BytesIO()
        Image.fromarray(scene.image).save(output, "JPEG", quality=80)
        drawn.append((output.getvalue(), scene.objects))
    return drawn


def event_of(
    frame: Frame, origin: Origin, objects: Sequence[SceneObject], size: tuple[int, int] = SIZE
) -> Event:
    """The event that a perfect model would give."""
    found = [
        Detection(each.label, LABELS.index(each.label) + 1, 0.5 + each.visible / 2.1, each_box(each))
        for each in objects
        if each.visible > 0.5
    ]
    timing = {"broker": 12.3, "queue": 21.0, "decode": 4.1, "predict": 31.7, "total": 78.4}
    return Event(
        origin=origin,
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        sequence=frame.sequence,
        captured_at_ms=frame.captured_at_ms,
        image_size=size,
        model=Model("street", 1, "serving_default"),
        timing_ms=timing,
        batch_size=12,
        batch_reason="device_free",
        detections=sorted(found, key=lambda one: -one.score),
    )


def each_box(thing: SceneObject) -> tuple[float, float, float, float]:
    """Corners as an event has them."""
    return (thing.x1, thing.y1, thing.x2, thing.y2)


class Feed:
    """Sends frames of several cameras, and their events a little later.

    Args:
        names: the cameras' ids.
        fps: frames a second of each.
    """

    def __init__(
        self, kafka: KafkaSettings, topics: TopicsSettings, names: Sequence[str], *, fps: float = 10.0
    ) -> None:
        self.answering = True
        self._kafka = kafka
        self._topics = topics
        self._names = names
        self._fps = fps

    async def run(self, size: tuple[int, int] = SIZE, distinct: int = 8) -> None:
        """Send until cancelled; `distinct`: how many different streets are drawn."""
        streets = [
            await asyncio.to_thread(scenes, f"camera-{number}", _SCENES, size)
            for number in range(min(distinct, len(self._names)))
        ]
        async with (
            AIOKafkaProducer(
                **self._kafka.client_options(), max_request_size=16 * 1024 * 1024, linger_ms=5
            ) as producer,
            asyncio.TaskGroup() as tasks,
        ):
            for number, name in enumerate(self._names):
                street = streets[number % len(streets)]
                tasks.create_task(self._camera(producer, name, street, size, number))

    async def _camera(
        self,
        producer: AIOKafkaProducer,
        name: str,
        street: list[tuple[bytes, Sequence[SceneObject]]],
        size: tuple[int, int],
        number: int,
    ) -> None:
        start_s = time.monotonic() + number / len(self._names) / self._fps
        async with asyncio.TaskGroup() as answers:
            for sequence in range(1_000_000_000):
                await asyncio.sleep(max(0.0, start_s + sequence / self._fps - time.monotonic()))
                image, objects = street[sequence % len(street)]
                frame = Frame(name, image, time.time_ns() // 1_000_000, sequence=sequence)
                place = await producer.send_and_wait(
                    self._topics.frames_topic, image, key=frame.key(), headers=frame.headers()
                )
                if self.answering and sequence % _DROP_EVERY != _DROP_EVERY - 1:
                    origin = Origin(place.topic, place.partition, place.offset)
                    answers.create_task(self._answer(producer, event_of(frame, origin, objects, size)))

    async def _answer(self, producer: AIOKafkaProducer, event: Event) -> None:
        await asyncio.sleep(_DELAY_S)
        await producer.send_and_wait(
            self._topics.events_topic,
            event.to_json(),
            key=event.camera_id.encode(),
            headers=event.headers(),
            partition=event.origin.partition,
        )


def main() -> None:
    """Send until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--no-events", action="store_true")
    given = parser.parse_args()
    kafka = KafkaSettings(bootstrap_servers=given.bootstrap)
    topics = TopicsSettings(kafka=kafka)
    names = [f"camera-{number + 1}" for number in range(given.cameras)]
    names[-1] = SCRIPT_CAMERA
    feed = Feed(kafka, topics, names, fps=given.fps)
    feed.answering = not given.no_events
    width, _, height = given.size.partition("x")

    async def run() -> None:
        await ensure_topics(kafka, topic_specs(topics))
        await feed.run((int(width), int(height)))

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
