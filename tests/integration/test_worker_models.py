"""Models of any kind through the whole pipeline, with no setting but the model's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from riverlens.kafka import KafkaSettings
from tests import layout_models as m
from tests import model_servers, models
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.topics import Put, put
from tests.layout_models import Form
from tests.worker_parts import encode

FORMS = {
    "one": Form((1, 48, 64, 3), "uint8", m.from_bytes, m.as_object_detection, "input_tensor"),
    "any_size_one": Form((1, None, None, 3), "uint8", m.from_bytes, m.as_object_detection, "input_tensor"),
    "float": Form((None, 48, 64, 3), "float32", m.from_unit, m.as_object_detection),
    "strings": Form((1,), "string", m.from_strings, m.as_object_detection, "input_tensor"),
    "classifier": Form(
        (None, 48, 64, 3),
        "float32",
        m.from_signed,
        m.as_probabilities,
        "keras_tensor",
        {"kind": "classification", "range": [-1, 1], "labels": {"0": "red", "1": "green", "2": "blue"}},
        ("serve",),
    ),
    "unknown": Form((None, None, None, 3), "uint8", m.from_bytes, m.as_two_arrays),
}
COLOURS = ((204, 10, 10), (10, 204, 10), (10, 10, 204))
COUNT = 120


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one server of all the models."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, form in FORMS.items():
        m.write(form, folder / name / "1")
    config = models.write_model_config(folder, {name: folder / name for name in FORMS})
    with model_servers.model_server(folder / "server.log", f"--model_config_file={config}") as running:
        yield running.address


def _image(number: int) -> bytes:
    """128 x 96 pixels, black, a rectangle at (0.25, 0.375, 0.75, 0.5) in the colour of this number."""
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[36:48, 32:96] = COLOURS[number % 3]
    return encode(pixels, "PNG")


@pytest.mark.parametrize("model", FORMS)
async def test_a_model_of_any_kind_needs_its_name_alone(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, kinds: str, model: str
) -> None:
    """Fixed batch, floats, strings, a classifier, an unknown model: every event says what its frame shows."""
    images = [_image(number) for number in range(3)]
    await put(kafka, topic_set.frames, [Put(images[n % 3], partition=n % 4) for n in range(COUNT)])
    worker = await workers(topic_set, server=kinds, model=model)
    account = await settled(kafka, topic_set, COUNT)
    account.check()
    assert not account.letters
    for (partition, offset), body in account.events.items():
        # Frame n went to partition n % 4, in order.
        _check(body, (offset * 4 + partition) % 3)
    most = max(body["batch"]["size"] for body in account.events.values())
    assert (most == 1) == ((FORMS[model].shape or (None,))[0] == 1)
    counts = await worker.at_rest()
    assert counts["published"] == COUNT


def _check(body: dict[str, Any], colour: int) -> None:
    """An event of an image of this colour, from whichever model."""
    if "detections" in body:
        (found,) = body["detections"]
        assert (found["class_id"], found["label"]) == (colour + 1, f"class-{colour + 1}")
        assert found["score"] == pytest.approx(0.8, abs=0.02)
        assert [found["box"][side] for side in ("x1", "y1", "x2", "y2")] == pytest.approx(
            [0.25, 0.375, 0.75, 0.5], abs=0.02
        )
    elif "classes" in body:
        (named,) = body["classes"]
        assert (named["class_id"], named["label"]) == (colour, ("red", "green", "blue")[colour])
        assert named["score"] == pytest.approx(0.8, abs=0.02)
    else:
        assert body["outputs"]["place"] == pytest.approx([0.375, 0.25, 0.5, 0.75])
        assert body["outputs"]["depth"] == [pytest.approx([colour, 0.8])]
