"""Any model, fed and read right: real exports' layouts, each as a small model on the real server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riverlens.errors import RiverlensError
from riverlens_worker.decoding import to_row
from riverlens_worker.detections import read_answers
from riverlens_worker.endpoints import Endpoint
from riverlens_worker.messages import Answer
from riverlens_worker.model import ServedModel, discover
from riverlens_worker.predict_request import predict_request
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tensors import read_reply
from tests import layout_models as m
from tests import model_servers, models
from tests.layout_models import Form
from tests.worker_parts import encode

FREE, FIXED, ONE = (None, None, None, 3), (None, 64, 80, 3), (1, None, None, 3)
BOX = (0.25, 0.375, 0.75, 0.5)
"""x1, y1, x2, y2 of the rectangle in the test image, and of every event."""
COLOURS = ((204, 10, 10), (10, 204, 10), (10, 10, 204))
SCORE = 0.8
FORMS = {
    "od_uint8": Form(ONE, "uint8", m.from_bytes, m.as_object_detection, "input_tensor"),
    "od_float": Form(ONE, "float32", m.from_bytes, m.as_object_detection, "input_tensor"),
    "od_string": Form((1,), "string", m.from_strings, m.as_object_detection, "input_tensor"),
    "unit": Form(FIXED, "float32", m.from_unit, m.as_object_detection),
    "signed": Form(FIXED, "float32", m.from_signed, m.as_object_detection),
    "bgr_mean": Form(FIXED, "float32", m.from_bgr_mean, m.as_object_detection, "keras_tensor"),
    "planes": Form((None, 3, 64, 80), "float32", m.from_planes, m.as_object_detection),
    "int32": Form(FREE, "int32", m.from_bytes, m.as_object_detection),
    "half": Form(FIXED, "float16", m.from_unit, m.as_object_detection),
    "efficientdet": Form(FREE, "uint8", m.from_bytes, m.as_efficientdet, "input"),
    "efficientdet_rows": Form(FREE, "uint8", m.from_bytes, m.as_efficientdet_rows, "input"),
    "rows": Form((1, 80, 80, 3), "float32", m.from_unit, m.as_rows),
    "yolo": Form((1, 80, 80, 3), "float32", m.from_unit, m.as_yolo),
    "yolo_pixels": Form((1, 3, 80, 96), "float32", m.from_planes, m.as_yolo_pixels),
    "yolo_5": Form((1, 80, 80, 3), "float32", m.from_unit, m.as_yolo_5),
    "logits_by_class": Form(FIXED, "float32", m.from_unit, m.as_logits_by_class),
    "bfloat16": Form(FIXED, "bfloat16", m.from_unit, m.as_object_detection),
    "squeezed": Form(FREE, "uint8", m.from_bytes, m.as_squeezed),
    "yolo_squeezed": Form((1, 80, 80, 3), "float32", m.from_unit, m.as_yolo_squeezed),
    "any_rank": Form(None, "uint8", m.from_any_rank, m.as_object_detection),
    "mixed": Form(FREE, "uint8", m.from_bytes, m.as_mixed),
    "picture": Form(FREE, "uint8", m.from_bytes, m.as_picture),
    "four": Form((4, 64, 80, 3), "uint8", m.from_bytes, m.as_object_detection),
    "first_only": Form(FREE, "uint8", m.from_bytes, m.as_first_only),
    "arrays": Form(FREE, "uint8", m.from_bytes, m.as_two_arrays),
    "classifier": Form(FIXED, "float32", m.from_unit, m.as_probabilities, "keras_tensor", also=("serve",)),
    "logits": Form(FREE, "uint8", m.from_bytes, m.as_logits),
    "told": Form(
        (None, 80, 80, 3),
        "float32",
        m.from_bgr_mean,
        m.as_yolo,
        info={
            "kind": "detection",
            "labels": {"0": "red", "1": "green", "2": "blue"},
            "colour": "bgr",
            "range": [0, 255],
            "mean": list(m.MEAN),
            "resize": "letterbox",
            "boxes": "normalised_cxcywh",
            "scores": "probabilities",
        },
    ),
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one server of all the models."""
    folder = tmp_path_factory.mktemp("layouts")
    for name, form in FORMS.items():
        m.write(form, folder / name / "1")
    config = models.write_model_config(folder, {name: folder / name for name in FORMS})
    with model_servers.model_server(folder / "server.log", f"--model_config_file={config}") as running:
        yield running.address


def _image(colour: tuple[int, int, int]) -> bytes:
    """160 x 64 pixels, black, with the rectangle."""
    pixels = np.zeros((64, 160, 3), np.uint8)
    pixels[24:32, 40:120] = colour
    return encode(pixels, "PNG")


async def _answers(model: ServedModel, images: list[bytes]) -> list[Answer]:
    """As the worker asks: one call of all images, or calls of as many as the model takes."""
    rows = [to_row(image, None, model.target) for image in images]
    assert {row.size for row in rows} == {(160, 64)}
    found: list[Answer] = []
    each = model.layout.rows or len(rows)
    for start in range(0, len(rows), each):
        part = rows[start : start + each]
        request = predict_request(model.settings.model, model.layout, [row.row for row in part])
        version, arrays = read_reply(await model.endpoint.predict(request, 20))
        places = model.places(part)
        found += read_answers(model.layout, arrays, len(part), await model.reading(version), places)
    return found


@dataclass(frozen=True)
class Case:
    """A model with the settings that it needs, what the worker warns of, and the first class's id."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    warned: tuple[str, ...] = ()
    first_class: int = 1
    rows: int | None = None
    label: str = "class-{}"


DETECTION = {"output_kind": "detection"}
YOLO = {**DETECTION, "labels": "coco80", "resize": "letterbox", "input_range": "0..1"}
NAMELESS, RANGE, BOXES = "see the setting labels", "see input_range", "see boxes"
DETECTORS = [
    Case("od_uint8", {}, (NAMELESS,), rows=1),
    Case("od_float", {}, (NAMELESS,), rows=1),
    Case("od_string", {}, (NAMELESS,), rows=1),
    Case("unit", {}, (NAMELESS, RANGE)),
    Case("signed", {"input_range": "-1..1"}, (NAMELESS,)),
    Case(
        "bgr_mean",
        {"input_range": "0..255", "colour": "bgr", "input_mean": "103.939,116.779,123.68"},
        (NAMELESS,),
    ),
    Case("planes", {}, (NAMELESS, RANGE)),
    Case("planes", {"resize": "letterbox"}, (NAMELESS, RANGE)),
    Case("int32", {}, (NAMELESS,)),
    Case("half", {"input_range": "0..1"}, (NAMELESS,)),
    Case("efficientdet", DETECTION, (NAMELESS,)),
    Case("efficientdet", {**DETECTION, "input_size": 80}, (NAMELESS,)),
    Case("efficientdet_rows", DETECTION, (NAMELESS, BOXES)),
    Case("efficientdet_rows", {**DETECTION, "boxes": "pixels_yxyx", "scores": "probabilities"}, (NAMELESS,)),
    Case("rows", {**YOLO, "boxes": "pixels_xyxy"}, (), 0, 1, "{coco}"),
    Case("yolo", YOLO, (BOXES,), 0, 1, "{coco}"),
    Case("yolo", {**YOLO, "boxes": "normalised_cxcywh"}, (), 0, 1, "{coco}"),
    Case("yolo_pixels", YOLO, (BOXES,), 0, 1, "{coco}"),
    Case("yolo_pixels", {**YOLO, "resize": "stretch"}, (BOXES,), 0, 1, "{coco}"),
    Case("yolo_5", YOLO, (BOXES,), 0, 1, "{coco}"),
    Case("logits_by_class", {**DETECTION, "boxes": "normalised_yxyx"}, (NAMELESS, RANGE), 0),
    Case("bfloat16", {"input_range": "0..1"}, (NAMELESS,)),
    Case("squeezed", {}, (NAMELESS,), rows=1),
    Case("yolo_squeezed", {**YOLO, "boxes": "normalised_cxcywh"}, (), 0, 1, "{coco}"),
    Case("yolo_squeezed", {**DETECTION, "input_range": "0..1"}, (NAMELESS, "see labels", BOXES), 0, 1),
    Case("any_rank", {}, (NAMELESS, "tells no shape")),
    Case("four", {}, (NAMELESS,), rows=4),
    Case("first_only", {}, (NAMELESS, "each goes alone"), rows=1),
    Case("told", {}, (), 0, None, "{colour}"),
]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("case", DETECTORS, ids=lambda case: f"{case.model}-{'-'.join(case.settings)}")
async def test_a_detector_of_any_layout_gives_the_box(
    case: Case, layouts: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The right box, class, score and label for each of three images; warnings only where they are due."""
    endpoint = Endpoint(layouts, case.model)
    model = await discover(endpoint, WorkerSettings(model=case.model, **case.settings), lambda _: None)
    answers = await _answers(model, [_image(colour) for colour in COLOURS])
    await endpoint.close()
    warnings = _warnings(caplog)
    assert len(warnings) == len(case.warned), warnings
    assert all(text in warning for text, warning in zip(case.warned, warnings, strict=True)), warnings
    assert model.layout.rows == case.rows
    for number, answer in enumerate(answers):
        assert answer.detections is not None
        (found,) = answer.detections
        assert found.class_id == case.first_class + number
        words = {"coco": ("person", "bicycle", "car")[number], "colour": ("red", "green", "blue")[number]}
        assert found.label == case.label.format(found.class_id, **words)
        assert found.score == pytest.approx(SCORE, abs=0.02)
        assert found.box == pytest.approx(BOX, abs=0.03)


async def test_a_classifier_needs_labels_alone(layouts: str) -> None:
    """Keras 3's names and its twin signature; logits become probabilities; without labels it is an array."""
    cases: list[tuple[str, dict[str, Any]]] = [
        ("classifier", {"labels": "coco80"}),
        ("classifier", {"output_kind": "classification"}),
        ("logits", {"labels": "coco80"}),
        ("logits", {"labels": "coco80", "scores": "logits"}),
    ]
    for name, settings in cases:
        endpoint = Endpoint(layouts, name)
        model = await discover(endpoint, WorkerSettings(model=name, **settings), lambda _: None)
        assert model.layout.signature == "serving_default"
        for number, answer in enumerate(await _answers(model, [_image(colour) for colour in COLOURS])):
            assert answer.classes is not None
            (found,) = answer.classes
            assert found.class_id == number
            assert found.score == pytest.approx(SCORE if name == "classifier" else 0.9998, abs=0.02)
        await endpoint.close()
    endpoint = Endpoint(layouts, "logits")
    model = await discover(endpoint, WorkerSettings(model="logits"), lambda _: None)
    assert [answer.outputs for answer in await _answers(model, [_image(COLOURS[2])])] == [
        {"logits": [-1.0, -1.0, 8.0]}
    ]
    await endpoint.close()


async def test_an_unknown_model_gives_its_arrays(layouts: str) -> None:
    """Two outputs that nobody knows: both in each event, by name, a row a frame."""
    endpoint = Endpoint(layouts, "arrays")
    model = await discover(endpoint, WorkerSettings(model="arrays"), lambda _: None)
    for number, answer in enumerate(await _answers(model, [_image(colour) for colour in COLOURS])):
        assert answer.outputs is not None
        assert answer.outputs["place"] == pytest.approx([BOX[1], BOX[0], BOX[3], BOX[2]])
        assert answer.outputs["depth"] == [pytest.approx([number, SCORE])]
    await endpoint.close()


async def test_what_is_no_row_is_left_out_and_named(layouts: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a model that nobody knows, constants and complex numbers go into a warning, the rest into events."""
    endpoint = Endpoint(layouts, "mixed")
    model = await discover(endpoint, WorkerSettings(model="mixed"), lambda _: None)
    (answer,) = await _answers(model, [_image(COLOURS[0])])
    assert answer.outputs == {"place": pytest.approx([BOX[1], BOX[0], BOX[3], BOX[2]])}
    assert [warning.rpartition("left out: ")[2] for warning in _warnings(caplog)] == [
        "no event can hold them",
        "names [2], version []",
    ]
    await endpoint.close()


async def test_labels_that_begin_with_0_are_doubted(
    layouts: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The Object Detection API's classes begin with 1: names from 0 shift by one, so the worker warns."""
    names = tmp_path / "names.txt"
    for text, doubted in (("person\ncar\n", True), ("???\nperson\ncar\n", False)):
        names.write_text(text)
        endpoint = Endpoint(layouts, "od_uint8")
        await discover(endpoint, WorkerSettings(model="od_uint8", labels=str(names)), lambda _: None)
        await endpoint.close()
        assert any("begin with 1" in warning for warning in _warnings(caplog)) == doubted
        caplog.clear()


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("arrays", {"output_kind": "detection"}, "output_kind=arrays"),
        ("arrays", {"output_kind": "classification"}, "output_kind=arrays"),
        ("od_uint8", {"input_range": "0..1"}, "input_range: "),
        ("int32", {"input_mean": "1,2,3"}, "input_range: "),
        ("int32", {"resize": "letterbox"}, "resize: .*input_size"),
        ("unit", {"signature": "other"}, "signature: "),
        ("picture", {}, r"max_frame_bytes: the outputs of one image are \d{9} bytes"),
        ("yolo", {}, "output_kind=detection"),
    ],
)
async def test_what_does_not_fit_names_the_setting(
    name: str, settings: dict[str, Any], text: str, layouts: str
) -> None:
    """A model that cannot be fed or read as it is told is refused in one line that names the setting."""
    endpoint = Endpoint(layouts, name)
    with pytest.raises(RiverlensError, match=text) as caught:
        await discover(endpoint, WorkerSettings(model=name, **settings), lambda _: None)
    assert "\n" not in str(caught.value)
    await endpoint.close()
