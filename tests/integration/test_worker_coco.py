"""The COCO model in its three forms through the whole pipeline, against its own answers to real photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from riverlens.kafka import KafkaSettings
from riverlens_serving.export.flags import parse
from riverlens_serving.export.run import export
from tests import model_servers, models
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.topics import Put, put

pytestmark = pytest.mark.realdata

MODEL = "ssd_mobilenet_v1_coco"
SURE = 0.5


@dataclass(frozen=True, slots=True)
class Limit:
    """How far scores and boxes (of the image's side) may be off."""

    score: float
    box: float


PIXELS, ENCODED = Limit(0.01, 0.01), Limit(0.03, 0.03)


@dataclass(frozen=True, slots=True)
class Served:
    """The photos with the recorded answers, and a server of `frozen`, `tf1` and `tf2`."""

    photos: dict[str, bytes]
    told: dict[str, list[dict[str, Any]]]
    address: str


@pytest.fixture(scope="module")
def coco(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The frozen graph goes through our own exporter first; the others are served as they are."""
    folder = tmp_path_factory.mktemp("coco")
    graph = testdata / "models" / f"{MODEL}_frozen" / "frozen_inference_graph.pb"
    for name, flags in (("frozen", ()), ("frozen_encoded", ("--input", "encoded"))):
        export(parse([str(graph), str(folder / name), "--labels", "coco", *flags], "export"))
    config = models.write_model_config(
        folder,
        {
            "frozen": folder / "frozen",
            "frozen_encoded": folder / "frozen_encoded",
            "tf1": testdata / "models" / f"{MODEL}_tf1",
            "tf2": testdata / "models" / MODEL,
        },
    )
    recorded = json.loads((testdata / "images" / "detections.json").read_text(encoding="utf-8"))
    photos = {name: (testdata / "images" / name).read_bytes() for name in recorded}
    with model_servers.model_server(folder / "server.log", f"--model_config_file={config}") as running:
        yield Served(photos, {name: each["detections"] for name, each in recorded.items()}, running.address)


@pytest.mark.parametrize(
    "case",
    [
        ("frozen", None, PIXELS),
        ("frozen_encoded", None, ENCODED),
        ("tf1", None, PIXELS),
        ("tf2", None, PIXELS),
        ("tf2", "encoded_image_string", ENCODED),
    ],
    ids=lambda case: "-".join(word for word in case[:2] if word),
)
async def test_events_hold_what_the_model_says_of_real_photos(
    kafka: KafkaSettings,
    topic_set: TopicSet,
    workers: StartWorker,
    coco: Served,
    case: tuple[str, str | None, Limit],
) -> None:
    """Every detection of 0.5 and more, by class and place, whichever form of the model serves it."""
    model, signature, limit = case
    await put(kafka, topic_set.frames, [Put(image, name.encode()) for name, image in coco.photos.items()])
    settings: dict[str, Any] = {} if model.startswith("frozen") else {"labels": "coco"}
    settings |= {} if signature is None else {"signature": signature}
    await workers(topic_set, server=coco.address, model=model, max_batch_size=4, **settings)
    account = await settled(kafka, topic_set, len(coco.photos), timeout_s=60)
    account.check()
    assert not account.reasons()
    compared = 0
    for body in account.events.values():
        for told in coco.told[body["camera_id"]]:
            if told["score"] >= SURE:
                compared += 1
                assert _near(body["detections"], told, limit), (body["camera_id"], told, body["detections"])
    print(f"{model} {signature or ''}: {compared} detections compared")  # noqa: T201  # the figure
    assert compared >= 30


def _near(found: list[dict[str, Any]], told: dict[str, Any], limit: Limit) -> bool:
    """Whether one of the found is the one told of: (ymin, xmin, ymax, xmax) there, corners here."""
    sides = dict(zip(("y1", "x1", "y2", "x2"), told["box"], strict=True))
    return any(
        each["label"] == told["label"]
        and abs(each["score"] - told["score"]) <= limit.score
        and all(abs(each["box"][side] - value) <= limit.box for side, value in sides.items())
        for each in found
    )
