"""What TensorFlow Serving's HTTP API refuses, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.rest_client import RestClient

PREDICT = "/v1/models/half_plus_two:predict"
ADD = "/v1/models/two_inputs:predict"
ECHO = "/v1/models/echo:predict"
CLASSIFY = "/v1/models/examples:classify"
THREE = [1.0, 2.0, 3.0]
ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "
NO_EXAMPLES = "When method is classify, key 'examples' is expected and was not found"
WRONG_LEVEL = "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"


def quoted(member: str) -> str:
    """How an object of one member is quoted."""
    return f"JSON Value: {{\n    {member}\n}} "


REFUSED: list[Any] = [
    ("POST", PREDICT, b"", "JSON Parse error: The document is empty"),
    ("POST", PREDICT, b"[1]", "JSON Value: [1] Is not object"),
    ("POST", PREDICT, {}, "Missing 'inputs' or 'instances' key"),
    (
        "POST",
        PREDICT,
        {"instances": 1},
        quoted('"instances": 1') + "Expecting 'instances' to be an list/array",
    ),
    ("POST", PREDICT, {"instances": []}, quoted('"instances": []') + "No values in 'instances' array"),
    (
        "POST",
        PREDICT,
        {"instances": [1], "inputs": [1]},
        (
            'JSON Value: {\n    "instances": [1],\n    "inputs": [1]\n} Not formatted correctly expecting'
            " only one of 'inputs' or 'instances' keys to exist "
        ),
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": 1},
        (
            quoted('"signature_name": 1') + "not formatted correctly. 'signature_name' key must be a"
            " string value."
        ),
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "other", "instances": [1]},
        'Serving signature name: "other" not found in signature def',
    ),
    (
        "POST",
        PREDICT,
        {"instances": ["a"]},
        (ELEMENT.format(0) + 'JSON Value: "a" Type: String is not of expected type: float'),
    ),
    (
        "POST",
        PREDICT,
        {"instances": [1, True]},
        (ELEMENT.format(1) + "JSON Value: true Type: True is not of expected type: float"),
    ),
    (
        "POST",
        PREDICT,
        {"instances": [[1, 2], [3]]},
        (ELEMENT.format(1) + "Expecting tensor size: 2 but got: 1"),
    ),
    (
        "POST",
        PREDICT,
        {"instances": [[1, 2], [[3], [4]]]},
        (ELEMENT.format(1) + "Expecting shape [2] but got: [2,1]"),
    ),
    ("POST", PREDICT, {"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
    (
        "POST",
        PREDICT,
        {"instances": [1, {"x": 1}]},
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [{"z": 1}]},
        (
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object:"
            " does not have named input: z"
        ),
    ),
    (
        "POST",
        ADD,
        {"signature_name": "add", "instances": [{"a": THREE}]},
        (
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": [1.0, 2.0, 3.0]\n}"
            " keys must be equal to: a,b"
        ),
    ),
    (
        "POST",
        ADD,
        {"signature_name": "add", "instances": [THREE]},
        (
            "instances is a plain list, but expecting list of objects as multiple input tensors required as"
            " per tensorinfo_map"
        ),
    ),
    (
        "POST",
        ADD,
        {"signature_name": "add", "inputs": [THREE]},
        (
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
            " tensorinfo_map"
        ),
    ),
    (
        "POST",
        ADD,
        {"signature_name": "add", "inputs": {"a": [THREE]}},
        "Missing named input: b in 'inputs' object.",
    ),
    ("POST", PREDICT, {"inputs": [[1], 2]}, "JSON Value: 2 " + WRONG_LEVEL),
    ("POST", PREDICT, {"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
    (
        "POST",
        PREDICT,
        {"inputs": [[1], [2, 3]]},
        "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
    ),
    (
        "POST",
        ECHO,
        {"signature_name": "int32", "inputs": [1.0]},
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    (
        "POST",
        ECHO,
        {"signature_name": "string", "inputs": [{"b64": "a!"}]},
        "Unable to base64 decode",
    ),
    (
        "POST",
        ECHO,
        {"signature_name": "string", "inputs": [{"b65": ""}]},
        'JSON Value: {\n    "b65": ""\n} not formatted correctly for base64 data',
    ),
    (
        "POST",
        "/v1/models/unbatchable:predict",
        {"signature_name": "scalar", "instances": [1.0]},
        "Tensor name: y has no shape information ",
    ),
    ("POST", CLASSIFY, {}, "JSON Value: {} " + NO_EXAMPLES),
    (
        "POST",
        "/v1/models/examples:regress",
        {"examples": []},
        quoted('"examples": []') + "'examples' value is an empty array",
    ),
    ("POST", CLASSIFY, {"examples": [1]}, "Example must be JSON object but got JSON Number"),
    (
        "POST",
        CLASSIFY,
        {"examples": [{"x": [1.0, "a"]}]},
        "Unexpected element type in feature: x expecting type: float",
    ),
    (
        "POST",
        CLASSIFY,
        {"examples": [{"x": None}]},
        "Feature: x has element with unexpected JSON type: Null",
    ),
    ("POST", "/v1/models/half_plus_two", b"{}", "Malformed request: POST /v1/models/half_plus_two"),
    ("GET", "/v1/models", None, "Missing model name in request."),
    ("GET", PREDICT, None, f"Malformed request: GET {PREDICT}"),
    ("PUT", PREDICT, b"{}", f"Malformed request: PUT {PREDICT}"),
    ("GET", "/v1/nothing", None, "Malformed request: GET /v1/nothing"),
    (
        "GET",
        f"/v1/models/half_plus_two/versions/{2**63}",
        None,
        f"Failed to convert version: {2**63} to numeric.",
    ),
    (
        "POST",
        "/v1/models/half_plus_two/labels/canary:predict",
        {"instances": [1]},
        "Unrecognized servable version label: canary",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "error"), REFUSED)
def test_bad_request(rest: RestClient, method: str, path: str, body: Any, error: str) -> None:
    """Each bad request is a 400 with TensorFlow Serving's text under `error`."""
    answer = rest.call(method, path, body)
    assert (answer.status, answer.error) == (400, error)
