"""TensorFlow Serving's own test models and the COCO detector, answered as their expectations say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from riverlens.errors import RiverlensError
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.config import Listen, Model, Patience, ServerOptions
from riverlens_serving.server import Server
from riverlens_serving.versions import All
from tests.contract.client import Client, array, floats, spec, tensor

pytestmark = pytest.mark.realdata

HALF_PLUS_TWO = (
    "saved_model_half_plus_two_cpu",
    "saved_model_half_plus_two_tf2_cpu",
    "saved_model_half_plus_two_mkl",
    "saved_model_half_plus_two_mlmd",
    "saved_model_half_plus_two_cpu_with_saved_model_config",
)
AVAILABLE, END = 30, 50


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of one server of all these models."""
    folder: Path = request.getfixturevalue("testdata")
    tfserving = folder / "tfserving-testdata"
    servables = tfserving / "servables" / "tensorflow" / "testdata"
    names = (*HALF_PLUS_TWO, "saved_model_half_plus_three", "saved_model_counter")
    models = [Model(name, servables / name) for name in names]
    models += [
        Model("two_versions", servables / "saved_model_half_plus_two_2_versions", All()),
        Model("coco", folder / "models" / "ssd_mobilenet_v1_coco"),
    ]
    server = Server(ServerOptions(tuple(models), Listen(port=None)), threading.Event())
    with Client(f"127.0.0.1:{server.start()}") as connected:
        yield connected
    assert server.stop()


def _expected(testdata: Path) -> Any:
    return json.loads((testdata / "tfserving-testdata" / "expected.json").read_text())["grpc"]


@pytest.mark.parametrize("model", HALF_PLUS_TWO)
def test_half_plus_two_answers_as_tensorflow_servings_tests_expect(
    client: Client, testdata: Path, model: str
) -> None:
    """Each build of half_plus_two gives the Predict and GetModelStatus replies of those tests."""
    predict = next(case for case in _expected(testdata) if case["rpc"] == "Predict")
    status = next(case for case in _expected(testdata) if case["rpc"] == "GetModelStatus")
    reply = client.predict(spec(model, signature=predict["signature"]), {"x": floats(*predict["x"])})
    assert array(reply.outputs["y"]).tolist() == predict["y"]
    assert reply.model_spec.version.value == status["version"]
    (version,) = client.status(spec(model)).model_version_status
    assert (version.version, version.state) == (status["version"], AVAILABLE)
    assert version.status.error_code == status["error_code"]


def test_half_plus_three(client: Client, testdata: Path) -> None:
    """Half plus three is what TensorFlow Serving's test expects."""
    case = next(case for case in _expected(testdata) if case.get("model") == "half_plus_three")
    reply = client.predict("saved_model_half_plus_three", {"x": floats(*case["x"])})
    assert array(reply.outputs["y"]).tolist() == case["y"]


def test_two_versions_serve_side_by_side(client: Client) -> None:
    """Policy all serves 123 and 124; without a version the highest answers."""
    states = [(v.version, v.state) for v in client.status(spec("two_versions")).model_version_status]
    assert states == [(124, AVAILABLE), (123, AVAILABLE)]
    for version in (123, 124):
        reply = client.predict(spec("two_versions", version=version), {"x": floats(2)})
        assert reply.model_spec.version.value == version
    assert client.predict("two_versions", {"x": floats(2)}).model_spec.version.value == 124


def test_a_models_variables_keep_their_state(client: Client) -> None:
    """The counter counts over calls: one session serves them all."""
    counts = []
    for signature in ("reset_counter", "incr_counter", "incr_counter", "get_counter"):
        reply = client.predict(spec("saved_model_counter", signature=signature))
        counts += [array(output).item() for output in reply.outputs.values()]
    assert counts == [0, 1, 2, 2]


def test_the_coco_detector_finds_what_it_found(client: Client, testdata: Path) -> None:
    """Native pixels through the server give the model's own detections: score, class and box in order."""
    name, expected = next(iter(json.loads((testdata / "images" / "detections.json").read_text()).items()))
    with Image.open(testdata / "images" / name) as image:
        pixels = np.asarray(image.convert("RGB"))
    outputs = client.predict("coco", {"inputs": tensor(pixels[None])}).outputs
    scores, boxes, classes = (
        array(outputs[f"detection_{part}"])[0] for part in ("scores", "boxes", "classes")
    )
    for number, found in enumerate(expected["detections"]):
        assert scores[number] == pytest.approx(found["score"], abs=0.01)
        assert classes[number] == found["cls"]
        assert boxes[number] == pytest.approx(found["box"], abs=0.01)


def test_a_session_bundle_export_is_not_a_saved_model(testdata: Path) -> None:
    """TensorFlow Serving's bad_half_plus_two fails the start with its text."""
    folder = testdata / "tfserving-testdata" / "servables" / "tensorflow" / "testdata" / "bad_half_plus_two"
    options = ServerOptions((Model("bad", folder),), Listen(port=None), Patience(max_retries=0))
    server = Server(options, threading.Event())
    with pytest.raises(RiverlensError, match="does not appear to contain a SavedModel bundle"):
        server.start()
    assert server.stop()


def test_matrix_half_plus_two_is_batched(testdata: Path) -> None:
    """TensorFlow Serving's batching test model gives each caller its own rows, padded or not."""
    folder = testdata / "tfserving-testdata" / "batching" / "testdata" / "matrix_half_plus_two"
    batching = BatchingParameters(max_batch_size=4, allowed_batch_sizes=(4,), num_batch_threads=1)
    options = ServerOptions((Model("matrix", folder),), Listen(port=None), batching=batching)
    server = Server(options, threading.Event())
    with Client(f"127.0.0.1:{server.start()}") as client:
        rows = [np.full((1, 3, 3), number, np.float32) for number in range(6)]
        calls = [client.predict_future("matrix", {"x": tensor(row)}) for row in rows]
        for row, call in zip(rows, calls, strict=True):
            assert array(call.result().outputs["y"]).tolist() == (row / 2 + 2).tolist()
    assert server.stop()
