"""TensorFlow Serving's batching, row by row. The server runs with tests/contract/batching.config."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.contract.client import Client, Refusal, array, floats, refusal, refused, spec, tensor

INVALID = "INVALID_ARGUMENT"
PRECONDITION = "FAILED_PRECONDITION"


def _outcomes(calls: list[Any]) -> list[Any]:
    """Each call's reply, or its refusal."""
    outcomes: list[Any] = []
    for call in calls:
        try:
            outcomes.append(call.result())
        except grpc.RpcError as error:
            outcomes.append(refused(error))
    return outcomes


def test_callers_that_share_a_batch_get_their_own_rows(batching_client: Client) -> None:
    """Requests of different sizes are merged, padded to an allowed size, and answered row for row."""
    rows = [[1.0], [2.0, 3.0], [4.0], [5.0], [6.0, 7.0, 8.0], [9.0]]
    calls = [batching_client.predict_future("half_plus_two", {"x": floats(*row)}) for row in rows]
    assert [array(reply.outputs["y"]).tolist() for reply in _outcomes(calls)] == [
        [value / 2 + 2 for value in row] for row in rows
    ]


def test_outputs_come_in_the_order_of_each_callers_own_filter(batching_client: Client) -> None:
    """Two callers that ask for the same outputs in another order share a queue and get what they named."""
    model, row = spec("two_inputs", signature="add"), floats([1, 2, 3])
    for names in (["sum", "first"], ["first", "sum"]):
        reply = batching_client.predict(model, {"a": row, "b": row}, names)
        assert array(reply.outputs["sum"]).tolist() == [[2, 4, 6]]
        assert array(reply.outputs["first"]).tolist() == [1]


REFUSALS: list[Any] = [
    pytest.param(
        spec("two_inputs", signature="add"),
        {"a": floats([1, 2, 3]), "b": floats([1, 2, 3], [4, 5, 6])},
        Refusal(INVALID, "Batching Run() input tensors must have equal 0th-dimension size"),
        id="unequal-rows",
    ),
    pytest.param(
        "rank",
        {"x": tensor(1.0)},
        Refusal(INVALID, "Batching Run() input tensors must have at least one dimension"),
        id="scalar",
    ),
    pytest.param(
        "half_plus_two",
        {"x": floats(1, 2, 3, 4, 5)},
        Refusal(INVALID, "Task size 5 is larger than maximum input batch size 4"),
        id="too-many-rows",
    ),
    pytest.param(
        spec("unbatchable", signature="scalar"),
        {"x": floats(1)},
        Refusal(PRECONDITION, "Batched output tensor has 0 dimensions"),
        id="scalar-output",
    ),
    pytest.param(
        spec("unbatchable", signature="longer"),
        {"x": floats(1)},
        Refusal(
            PRECONDITION,
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the"
            " input tensors",
        ),
        id="output-of-other-length",
    ),
]


@pytest.mark.parametrize(("model", "inputs", "expected"), REFUSALS)
def test_refusal(batching_client: Client, model: Any, inputs: dict[str, Any], expected: Refusal) -> None:
    """Each request that cannot be batched gets TensorFlow Serving's code and text."""
    assert refusal(batching_client.predict, model, inputs) == expected


def test_checks_before_batching_stay_the_same(batching_client: Client) -> None:
    """Names are checked before the batch is: the plain server's text comes back."""
    got = refusal(batching_client.predict, "half_plus_two", {"x": floats(1)}, ["z"])
    assert got.message.startswith("output tensor alias not found in signature: z")


def test_one_bad_image_fails_every_caller_of_its_batch(batching_client: Client) -> None:
    """A run's failure goes to all requests that were merged into it, also those without fault."""
    model = spec("detector", signature="encoded_image_string")
    bmp = b"BM" + bytes(60)
    calls = [
        batching_client.predict_future(model, {"inputs": tensor([image] * 2)}) for image in (bmp, b"no image")
    ]
    first, second = _outcomes(calls)
    assert first == second
    assert first.code == INVALID


def test_other_shapes_fail_every_caller_of_their_batch(batching_client: Client) -> None:
    """Without padding, two shapes in one batch refuse both requests with the tensor's name."""
    calls = [
        batching_client.predict_future("rank", {"x": rows})
        for rows in (floats([1, 2], [3, 4]), floats([1, 2, 3], [4, 5, 6]))
    ]
    expected = Refusal(
        PRECONDITION,
        "Tensors with name 'serving_default_x:0' from different tasks have different shapes and padding is"
        " turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
        " have equal dimensions starting with the first dim.",
    )
    assert _outcomes(calls) == [expected, expected]


def test_other_dtypes_fail_every_caller_of_their_batch(batching_client: Client) -> None:
    """Two dtypes in one batch are INTERNAL for both."""
    calls = [
        batching_client.predict_future("rank", {"x": tensor([[1.0], [2.0]], dtype)})
        for dtype in ("float32", "float64")
    ]
    first, second = _outcomes(calls)
    assert first == second
    assert first.code == "INTERNAL"
    assert first.message.startswith("Tensor concat operation failed: ")
    assert "Cannot concatenate tensors that have different data types" in first.message
