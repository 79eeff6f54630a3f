"""Real images, real clips and real models through the running pipeline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg

from riverlens.kafka import KafkaSettings
from tests import model_servers, models
from tests.conftest import TopicSet
from tests.harness.account import Account, settled
from tests.harness.fixtures import StartWorker
from tests.harness.topics import Put, put

pytestmark = pytest.mark.realdata

STREET = Path(__file__).resolve().parents[2] / "serving" / "models" / "street"
CLIPS = {
    "serving_default": "intel_asl_walk.mkv",
    "encoded_image_string": "intel_preview_store-aisle-detection.gif",
}
SURE = 0.6
IOU = 0.5

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Real:
    """The folder of real data, and the address of a server of our street model and of the COCO model."""

    data: Path
    address: str


@pytest.fixture(scope="module")
def real(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Real data, and a model server of real models."""
    folder = tmp_path_factory.mktemp("real")
    coco = testdata / "models" / "ssd_mobilenet_v1_coco"
    config = models.write_model_config(folder, {"street": STREET, "coco": coco})
    with model_servers.model_server(folder / "server.log", f"--model_config_file={config}") as running:
        yield Real(testdata, running.address)


@pytest.mark.parametrize("signature", ["serving_default", "encoded_image_string"])
async def test_every_odd_image_has_one_outcome(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, real: Real, signature: str
) -> None:
    """Each of 92 hostile or unusual files gives exactly one event or one dead letter, and none is the end."""
    told = _odd_files(real.data)
    frames = [Put(value, name.encode()) for name, (value, _) in told.items()]
    await put(kafka, topic_set.frames, frames)
    worker = await workers(topic_set, server=real.address, model="street", signature=signature)
    account = await settled(kafka, topic_set, len(frames), timeout_s=90)
    account.check()
    assert len(account.events) + len(account.letters) == len(frames) == 92
    reasons = {account.frames[place].key.decode(): reason for place, reason in account.reasons().items()}
    assert set(reasons.values()) <= {"undecodable", "too_large", "unsupported", "model_rejected"}
    refused = {name: reason for name, reason in reasons.items() if told[name][1] == "ok"}
    print(signature, Counter(reasons.values()), "good for Pillow, refused here:", refused)  # noqa: T201  # the figures
    await worker.balance()
    assert await worker.stop() == 0


def _odd_files(testdata: Path) -> dict[str, tuple[bytes, str]]:
    folder = testdata / "odd-images"
    told = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["files"]
    return {each["file"]: ((folder / each["file"]).read_bytes(), each["result"]) for each in told}


def _clip_frames(path: Path, wanted: set[int]) -> dict[int, bytes]:
    """The wanted frames of a clip as JPEG q95."""
    with av.open(str(path)) as clip:
        return {
            number: simplejpeg.encode_jpeg(np.ascontiguousarray(frame.to_ndarray(format="rgb24")), 95, "RGB")
            for number, frame in enumerate(clip.decode(video=0))
            if number in wanted
        }


def _persons(testdata: Path, clip: str) -> dict[int, list[Box]]:
    """The model's own sure persons in the clip, by frame, as (x1, y1, x2, y2)."""
    told = json.loads((testdata / "videos" / "detections.json").read_text(encoding="utf-8"))[clip]
    return {
        int(number): [
            (found["box"][1], found["box"][0], found["box"][3], found["box"][2])
            for found in detections
            if found["label"] == "person" and found["score"] >= SURE
        ]
        for number, detections in told["sample_detections"].items()
    }


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


@pytest.mark.parametrize("signature", ["serving_default", "encoded_image_string"])
async def test_events_hold_the_persons_of_a_real_clip(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, real: Real, signature: str
) -> None:
    """The COCO model on a real clip: an event's person for each that the model by itself is sure of."""
    clip = CLIPS[signature]
    persons = _persons(real.data, clip)
    images = _clip_frames(real.data / "videos" / clip, set(persons))
    assert sum(map(len, persons.values())) >= 10, "the clip shows too few persons"
    frames = [Put(image, b"door", [("sequence", b"%d" % number)]) for number, image in images.items()]
    await put(kafka, topic_set.frames, frames)
    worker = await workers(
        topic_set, server=real.address, model="coco", labels="coco", signature=signature, max_batch_size=8
    )
    account = await settled(kafka, topic_set, len(frames), timeout_s=90)
    account.check()
    assert not account.letters
    missed = _missed(account, persons)
    assert not missed, missed
    assert await worker.stop() == 0


def _missed(account: Account, persons: dict[int, list[Box]]) -> list[tuple[int, Box]]:
    events: dict[int, list[Any]] = {
        body["sequence"]: [d["box"] for d in body["detections"] if d["label"] == "person"]
        for body in account.events.values()
    }
    return [
        (number, box)
        for number, boxes in persons.items()
        for box in boxes
        if not any(_iou(box, (b["x1"], b["y1"], b["x2"], b["y2"])) >= IOU for b in events[number])
    ]


async def test_real_photos_of_every_size_go_through(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, real: Real
) -> None:
    """Photos up to 4608 x 1976 at native size, four times each: an event each, and memory stays in bounds."""
    paths = [p for p in sorted((real.data / "images").iterdir()) if p.suffix in {".jpg", ".png"}]
    frames = [Put(path.read_bytes(), path.name.encode()) for path in paths * 4]
    await put(kafka, topic_set.frames, frames)
    worker = await workers(topic_set, server=real.address, model="street", ready=False)
    account = await settled(kafka, topic_set, len(frames), timeout_s=90)
    account.check()
    assert not account.reasons()
    peak = worker.peak_rss_bytes() / 2**20
    print(f"peak {peak:.0f} MiB")  # noqa: T201  # the figure
    assert peak < 700
