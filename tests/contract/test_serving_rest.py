"""TensorFlow Serving's HTTP API: paths, forms, codes and bodies."""

from __future__ import annotations

import base64
import gzip
import http.client
import io
import json
import socket
from typing import Any

import pytest
from PIL import Image

from tests.contract.client import TIMEOUT_S
from tests.contract.rest_client import RestClient

PREDICT = "/v1/models/half_plus_two:predict"
ADD = "/v1/models/two_inputs:predict"
THREE = [1.0, 2.0, 3.0]


def _png() -> str:
    data = io.BytesIO()
    Image.new("RGB", (8, 6), (0, 255, 0)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


ANSWERS: list[Any] = [
    pytest.param(PREDICT, {"instances": [1, 2.5]}, {"predictions": [2.5, 3.25]}, id="row"),
    pytest.param(PREDICT, {"inputs": [1, 2.5]}, {"outputs": [2.5, 3.25]}, id="column"),
    pytest.param(PREDICT, {"instances": [{"x": 1}, {"x": 2}]}, {"predictions": [2.5, 3]}, id="row-by-name"),
    pytest.param(PREDICT, {"inputs": {"x": [4]}}, {"outputs": [4]}, id="column-by-name"),
    pytest.param(
        "/v1/models/half_plus_two/versions/1:predict",
        {"instances": [1]},
        {"predictions": [2.5]},
        id="version",
    ),
    pytest.param(
        "/v1/models/half_plus_two/labels/stable:predict",
        {"instances": [1]},
        {"predictions": [2.5]},
        id="label",
    ),
    pytest.param(
        "/V1/Models/half%5Fplus_two:predict", {"inputs": [0]}, {"outputs": [2]}, id="case-and-escape"
    ),
    pytest.param(
        ADD,
        {"signature_name": "add", "instances": [{"a": THREE, "b": THREE}, {"a": THREE, "b": [0, 0, 0]}]},
        {"predictions": [{"sum": [2, 4, 6], "first": 1}, {"sum": THREE, "first": 1}]},
        id="two-inputs-in-rows",
    ),
    pytest.param(
        ADD,
        {"signature_name": "add", "inputs": {"a": [THREE], "b": [THREE], "unknown": 1}},
        {"outputs": {"sum": [[2, 4, 6]], "first": [1]}},
        id="two-inputs-in-columns",
    ),
    pytest.param(
        "/v1/models/detector:predict",
        {
            "signature_name": "encoded_image_string",
            "instances": [{"b64": _png()}],
        },
        None,
        id="bytes",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "string", "instances": ["a", {"b64": "w6k"}]},
        {"predictions": ["a", "é"]},
        id="strings-and-bytes-without-padding",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "int64", "instances": [2**63 - 1, -(2**63)]},
        {"predictions": [2**63 - 1, -(2**63)]},
        id="int64",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "uint64", "instances": [2**64 - 1, 0]},
        {"predictions": [2**64 - 1, 0]},
        id="uint64",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "bool", "instances": [True, False]},
        {"predictions": [True, False]},
        id="bool",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "uint8", "instances": [255, 256, -1]},
        {"predictions": [255, 0, 255]},
        id="small-integers-keep-their-low-bits",
    ),
    pytest.param(
        "/v1/models/echo:predict",
        {"signature_name": "float32", "instances": [0.1, 1e-5, 3]},
        {"predictions": [0.1, 1e-5, 3.0]},
        id="floats-by-their-shortest-digits",
    ),
]


@pytest.mark.parametrize(("path", "body", "expected"), ANSWERS)
def test_predict(rest: RestClient, path: str, body: Any, expected: Any) -> None:
    """Rows give `predictions`, columns give `outputs`; a single input or output needs no name."""
    answer = rest.post(path, body)
    assert (answer.status, answer.content_type) == (200, "application/json"), answer.body
    if expected is None:
        (found,) = answer.json["predictions"]
        assert found["detection_classes"] == [2, 0, 0]
    else:
        assert answer.json == expected


def test_not_a_number_and_infinity_travel_as_tokens(rest: RestClient) -> None:
    """NaN, Infinity and -Infinity are read and written, though JSON proper has no such numbers."""
    body = b'{"signature_name": "float32", "instances": [NaN, Infinity, -Infinity, 0.1]} and what follows'
    answer = rest.post("/v1/models/echo:predict", body)
    assert [str(value) for value in answer.json["predictions"]] == ["nan", "inf", "-inf", "0.1"]


def test_bodies_may_be_packed_or_come_in_chunks(rest: RestClient) -> None:
    """A gzip body and a chunked one are read as any other."""
    body = json.dumps({"instances": [1]}).encode()
    assert rest.call("POST", PREDICT, gzip.compress(body), {"Content-Encoding": "gzip"}).json == {
        "predictions": [2.5]
    }
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    headers = {"Transfer-Encoding": "chunked"}
    assert rest.call("POST", PREDICT, chunked, headers).json == {"predictions": [2.5]}


def test_a_caller_that_asks_first_is_told_to_go_on(rest: RestClient) -> None:
    """`Expect: 100-continue` is answered before the body comes: curl waits for it before large ones."""
    body = b'{"instances": [1]}'
    host, port = rest.address.rsplit(":", 1)
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
        "\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1024).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert json.loads(answer.read()) == {"predictions": [2.5]}


CLASSIFIED: list[Any] = [
    pytest.param(
        "classify",
        {"examples": [{"x": 2.0}, {"x": [4.0]}]},
        {"results": [[["half", 3], ["all", 2]], [["half", 4], ["all", 4]]]},
        id="classify",
    ),
    pytest.param(
        "classify",
        {"signature_name": "scores", "examples": [{"x": 2.2}]},
        {"results": [[["", 3.1], ["", 2.2]]]},
        id="scores-alone",
    ),
    pytest.param(
        "regress",
        {"signature_name": "regress", "context": {"x": 6.0}, "examples": [{}, {"x": 2.0}]},
        {"results": [5, 3]},
        id="regress-with-context",
    ),
]


@pytest.mark.parametrize(("method", "body", "expected"), CLASSIFIED)
def test_classify_and_regress(rest: RestClient, method: str, body: Any, expected: Any) -> None:
    """Examples as objects of features give labels with scores, or values."""
    assert rest.post(f"/v1/models/examples:{method}", body).json == expected


NOT_FOUND = 404


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v1/models/nobody:predict", "Servable not found for request: Latest(nobody)"),
        (
            "/v1/models/half_plus_two/versions/7:predict",
            "Servable not found for request: Specific(half_plus_two, 7)",
        ),
        (
            "/v1/models/half_plus_two/labels/gone:predict",
            "Servable not found for request: Specific(half_plus_two, 9)",
        ),
    ],
)
def test_predict_of_what_is_not_there_is_404(rest: RestClient, path: str, error: str) -> None:
    """An unknown model, version or a label of one that is not ready is 404 with gRPC's text."""
    answer = rest.post(path, {"instances": [1]})
    assert (answer.status, answer.error) == (NOT_FOUND, error)


def test_types_that_json_does_not_carry(rest: RestClient) -> None:
    """Halves are neither read (501) nor written (400)."""
    answer = rest.post("/v1/models/echo:predict", {"signature_name": "float16", "inputs": [1]})
    assert (answer.status, answer.error) == (501, "Conversion of JSON Value: 1 to type: half")


def test_status_is_200_for_a_known_model(rest: RestClient) -> None:
    """The status lists versions with int64 as text and an empty message for OK; a version may be named."""
    expected = {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    for path in ("", "/versions/1", "/labels/stable"):
        answer = rest.get(f"/v1/models/half_plus_two{path}")
        assert (answer.status, answer.json) == (200, expected)
    unknown = rest.get("/v1/models/nobody")
    assert (unknown.status, unknown.error) == (NOT_FOUND, "Could not find any versions of model nobody")


def test_metadata_has_the_signatures(rest: RestClient) -> None:
    """Metadata keeps the protocol's field names and names the version; 404 where no version is ready."""
    answer = rest.get("/v1/models/half_plus_two/metadata")
    assert answer.json["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    signature = answer.json["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
    assert rest.get("/v1/models/nobody/metadata").status == NOT_FOUND


def test_errors_are_indented(rest: RestClient) -> None:
    """An error's body is TensorFlow Serving's to the byte."""
    assert rest.get("/v1/models").body == b'{\n    "error": "Missing model name in request."\n}'


def test_outside_the_api_is_a_404_page(rest: RestClient) -> None:
    """Paths outside /v1/ get the HTTP library's page."""
    answer = rest.get("/metrics")
    assert (answer.status, answer.content_type) == (NOT_FOUND, "text/html")
