"""TensorFlow Serving's Predict, row by row: which check comes first, which code, which text."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorflow.core.framework import tensor_pb2, types_pb2

from tests.contract.client import Client, Refusal, array, floats, refusal, spec, tensor

INVALID = "INVALID_ARGUMENT"
THREE = [[1.0, 2.0, 3.0]]


def test_typed_values_come_back_with_the_resolved_model_spec(client: Client) -> None:
    """A reply carries float_val, and the name, version and signature that answered, never a label."""
    reply = client.predict("half_plus_two", {"x": floats(1, 2, 5)})
    assert list(reply.outputs["y"].float_val) == [2.5, 3.0, 4.5]
    assert not reply.outputs["y"].tensor_content
    assert reply.outputs["y"].dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in reply.outputs["y"].tensor_shape.dim] == [3]
    assert reply.model_spec == spec("half_plus_two", version=1, signature="serving_default")


REFUSALS: list[Any] = [
    pytest.param(None, {}, (), Refusal(INVALID, "Missing ModelSpec"), id="row-1-no-model-spec"),
    pytest.param(spec(), {}, (), Refusal(INVALID, "ModelSpec has no name specified."), id="row-2-no-name"),
    pytest.param(
        "unknown",
        {},
        (),
        Refusal("NOT_FOUND", "Servable not found for request: Latest(unknown)"),
        id="row-3-unknown-model",
    ),
    pytest.param(
        spec("half_plus_two", version=9),
        {},
        (),
        Refusal("NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 9)"),
        id="row-4-unknown-version",
    ),
    pytest.param(
        spec("unknown", label="stable"),
        {},
        (),
        Refusal(INVALID, "Unrecognized servable version label: stable"),
        id="row-5-unknown-label-before-unknown-model",
    ),
    pytest.param(
        spec("half_plus_two", label="gone"),
        {},
        (),
        Refusal("NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 9)"),
        id="row-6-label-of-a-version-that-is-not-ready",
    ),
    pytest.param(
        spec("half_plus_two", signature="other"),
        {},
        ("nothing",),
        Refusal("FAILED_PRECONDITION", 'Serving signature key "other" not found.'),
        id="row-7-unknown-signature-before-inputs",
    ),
    pytest.param(
        "two_inputs",
        {},
        (),
        Refusal("FAILED_PRECONDITION", 'Serving signature key "serving_default" not found.'),
        id="row-7b-no-signature-means-serving-default",
    ),
    pytest.param(
        spec("two_inputs", signature="add"),
        {"b": floats(*THREE)},
        ("nothing",),
        Refusal(
            INVALID,
            "input size does not match signature: 1!=2 len({b}) != len({a,b})."
            " Sent extra: {}. Missing but required: {a}.",
        ),
        id="row-8-missing-input-before-output-filter",
    ),
    pytest.param(
        spec("two_inputs", signature="add"),
        {name: floats(*THREE) for name in "zcab"},
        (),
        Refusal(
            INVALID,
            "input size does not match signature: 4!=2 len({a,b,c,z}) != len({a,b})."
            " Sent extra: {c,z}. Missing but required: {}.",
        ),
        id="row-8-extra-inputs-sorted",
    ),
    pytest.param(
        "half_plus_two",
        {"y": floats(1)},
        (),
        Refusal(
            INVALID,
            "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default"
            " value provided. Inputs expected to be in the request {y}, or default input alias set: ",
        ),
        id="row-9-wrong-name",
    ),
    pytest.param(
        "defaults",
        {"x": floats(1), "other": floats(1)},
        (),
        Refusal(
            INVALID,
            "Inputs contains invalid name. Used request inputs: x, request input: other,x",
        ),
        id="row-9b-wrong-name-where-a-default-fills-in",
    ),
    pytest.param(
        "half_plus_two",
        {"x": floats(1)},
        ("z",),
        Refusal(
            INVALID,
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        id="row-13-unknown-output",
    ),
    pytest.param(
        "half_plus_two",
        {"x": floats(1)},
        ("y", "y"),
        Refusal(INVALID, "duplicate output tensor alias: y"),
        id="row-13b-duplicate-output",
    ),
    pytest.param(
        "half_plus_two",
        {"x": tensor([1.0], "float64")},
        (),
        Refusal(INVALID, "Expects arg[0] to be float but double is provided"),
        id="row-11-wrong-dtype",
    ),
    pytest.param(
        spec("two_inputs", signature="add"),
        {"a": floats(*THREE), "b": tensor([[1, 2, 3]], "int64")},
        (),
        Refusal(INVALID, "Expects arg[1] to be float but int64 is provided"),
        id="row-11-arguments-count-by-sorted-tensor-name",
    ),
]


@pytest.mark.parametrize(("model", "inputs", "output_filter", "expected"), REFUSALS)
def test_refusal(
    client: Client, model: Any, inputs: Mapping[str, Any], output_filter: tuple[str, ...], expected: Refusal
) -> None:
    """Each bad request gets TensorFlow Serving's code and text, the first failing check deciding."""
    assert refusal(client.predict, model, inputs, output_filter) == expected


def _proto(**fields: Any) -> Any:
    sizes = fields.pop("shape")
    message = tensor_pb2.TensorProto(**fields)
    for size in sizes:
        message.tensor_shape.dim.add(size=size)
    return message


@pytest.mark.row("check 10")
@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(
            _proto(dtype=types_pb2.DT_FLOAT, shape=[2], tensor_content=b"\0" * 7), id="content-short"
        ),
        pytest.param(
            _proto(dtype=types_pb2.DT_FLOAT, shape=[1], tensor_content=b"\0" * 8), id="content-long"
        ),
        pytest.param(_proto(dtype=types_pb2.DT_FLOAT, shape=[-1], float_val=[1]), id="negative-dimension"),
        pytest.param(_proto(dtype=types_pb2.DT_INVALID, shape=[1], float_val=[1]), id="no-dtype"),
        pytest.param(_proto(dtype=types_pb2.DT_FLOAT, shape=[1] * 255, float_val=[1]), id="255-dimensions"),
        pytest.param(_proto(dtype=types_pb2.DT_FLOAT, shape=[2**40] * 2, float_val=[1]), id="overflow"),
        pytest.param(
            _proto(dtype=types_pb2.DT_BOOL, shape=[2], tensor_content=b"\2\0"), id="bool-that-is-none"
        ),
    ],
)
def test_a_tensor_that_does_not_parse_is_refused(client: Client, proto: Any) -> None:
    """Row 10: a TensorProto that describes no tensor is refused by its alias."""
    assert refusal(client.predict, "half_plus_two", {"x": proto}) == Refusal(
        INVALID, "tensor parsing error: x"
    )


@pytest.mark.parametrize(
    ("values", "size", "expected"),
    [
        pytest.param([1.0, 2.0], 4, [2.5, 3.0, 3.0, 3.0], id="short-list-repeats-the-last"),
        pytest.param([], 2, [2.0, 2.0], id="empty-list-is-zeros"),
        pytest.param([1.0, 2.0, 9.0], 2, [2.5, 3.0], id="long-list-is-cut"),
    ],
)
def test_typed_lists_need_not_fit_the_shape(
    client: Client, values: list[float], size: int, expected: list[float]
) -> None:
    """Section 5: `Tensor::FromProto` fills up or cuts a typed list to the shape."""
    proto = _proto(dtype=types_pb2.DT_FLOAT, shape=[size], float_val=values)
    assert array(client.predict("half_plus_two", {"x": proto}).outputs["y"]).tolist() == expected


def test_a_label_finds_its_version(client: Client) -> None:
    """A request by label is answered by the label's version, and the reply names that version alone."""
    reply = client.predict(spec("half_plus_two", label="stable"), {"x": floats(2)})
    assert reply.model_spec == spec("half_plus_two", version=1, signature="serving_default")


@pytest.mark.row("check 8b")
def test_fewer_inputs_than_the_signature_are_filled_by_its_defaults(client: Client) -> None:
    """Row 8b: an input with a default in the signature may be left out, or be sent."""
    assert array(client.predict("defaults", {"x": floats(1, 2)}).outputs["y"]).tolist() == [11, 12]
    both = {"x": floats(1, 2), "bias": floats(1)}
    assert array(client.predict("defaults", both).outputs["y"]).tolist() == [2, 3]


@pytest.mark.row("check 12")
def test_a_shape_that_no_kernel_takes_is_the_kernels_refusal(client: Client) -> None:
    """Row 12: the server checks no shapes; the failing kernel's text comes back with its node."""
    got = refusal(client.predict, "matmul", {"x": floats([1, 2, 3, 4], [5, 6, 7, 8])})
    assert got.code == INVALID
    assert got.message.startswith("Matrix size-incompatible: In[0]: [2,4], In[1]: [3,2]\n\t [[{{")


@pytest.mark.row("check 12")
def test_a_shape_that_the_model_tolerates_is_answered(client: Client) -> None:
    """Row 12: a shape that differs from earlier ones is answered where the operations take it."""
    assert array(client.predict("rank", {"x": floats([1, 2], [3, 4])}).outputs["y"]).tolist() == [3, 7]
    assert array(client.predict("rank", {"x": floats([[1, 2], [3, 4]])}).outputs["y"]).tolist() == [10]


@pytest.mark.row("check 12b")
def test_bad_image_bytes_are_invalid_argument(client: Client) -> None:
    """Row 12b: an undecodable image is INVALID_ARGUMENT with the decoding node's name."""
    got = refusal(
        client.predict, spec("detector", signature="encoded_image_string"), {"inputs": tensor([b"no image"])}
    )
    assert got.code == INVALID
    assert got.message.startswith("Unknown image file format. One of JPEG")
    assert "[[{{" in got.message


@pytest.mark.row("check 12c")
def test_zero_rows_give_empty_outputs(client: Client) -> None:
    """Row 12c: a batch of no rows is answered with no rows."""
    reply = client.predict("half_plus_two", {"x": tensor([], "float32")})
    assert [dim.size for dim in reply.outputs["y"].tensor_shape.dim] == [0]
    assert not reply.outputs["y"].float_val


def test_messages_far_above_grpcs_default_pass(client: Client) -> None:
    """Requests and replies of 16 MiB go through: the limit is 2 GiB, not gRPC's 4 MiB."""
    sent = np.arange(4 * 2**20, dtype=np.float32)
    reply = client.predict(spec("echo", signature="float32"), {"x": tensor(sent)}).outputs["y"]
    assert np.array_equal(np.array(reply.float_val, np.float32), sent)


def test_the_output_filter_selects(client: Client) -> None:
    """Only the outputs asked for come back; without a filter, all."""
    model = spec("two_inputs", signature="add")
    inputs = {"a": floats(*THREE), "b": floats(*THREE)}
    assert set(client.predict(model, inputs).outputs) == {"sum", "first"}
    assert array(client.predict(model, inputs, ["first"]).outputs["first"]).tolist() == [1]


def test_long_texts_are_cut(client: Client) -> None:
    """A text of more than 1024 characters keeps the first 1024 and a mark."""
    got = refusal(client.predict, spec("half_plus_two", signature="x" * 2000))
    assert got.message == 'Serving signature key "' + "x" * (1024 - 23) + "...TRUNCATED"


def test_an_encoded_image_detector_answers_in_the_detection_apis_names(client: Client) -> None:
    """String and uint8 images give the same detections, a row per image."""
    png = io.BytesIO()
    Image.new("RGB", (8, 6), (0, 255, 0)).save(png, "PNG")
    encoded = client.predict(
        spec("detector", signature="encoded_image_string"), {"inputs": tensor([png.getvalue()] * 2)}
    )
    pixels = client.predict("detector", {"inputs": tensor([[[[0, 255, 0]] * 8] * 6] * 2, "uint8")})
    assert encoded.outputs == pixels.outputs
    assert array(encoded.outputs["detection_classes"]).tolist() == [[2, 0, 0]] * 2
    assert array(encoded.outputs["num_detections"]).tolist() == [1, 1]
