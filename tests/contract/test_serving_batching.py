"""TensorFlow Serving's batching, row by row. The server runs with tests/contract/batching.config."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from tests.contract.client import Client, Refusal, array, floats, refusal, refused, spec, tensor
from tests.contract.rest_client import RestClient

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
        marks=pytest.mark.row("batching unequal-rows"),
    ),
    pytest.param(
        "rank",
        {"x": tensor(1.0)},
        Refusal(INVALID, "Batching Run() input tensors must have at least one dimension"),
        id="scalar",
        marks=pytest.mark.row("batching scalar"),
    ),
    pytest.param(
        "half_plus_two",
        {"x": floats(1, 2, 3, 4, 5)},
        Refusal(INVALID, "Task size 5 is larger than maximum input batch size 4"),
        id="too-many-rows",
        marks=pytest.mark.row("batching too-many-rows"),
    ),
    pytest.param(
        spec("unbatchable", signature="nothing"),
        {},
        Refusal(INVALID, "Batching Run() must have at least one input tensor"),
        id="no-input",
        marks=pytest.mark.row("batching no-input"),
    ),
    pytest.param(
        spec("unbatchable", signature="scalar"),
        {"x": floats(1)},
        Refusal(PRECONDITION, "Batched output tensor has 0 dimensions"),
        id="scalar-output",
        marks=pytest.mark.row("batching scalar-output"),
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
        marks=pytest.mark.row("batching output-length"),
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


@pytest.mark.row("batching other-shapes")
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


@pytest.mark.row("batching other-dtypes")
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


@pytest.mark.row("batching past-deadline")
def test_a_run_whose_time_passed_in_the_queue_is_refused(batching_rest: RestClient) -> None:
    """A lone row waits for its batch longer than a request may take: the whole batch is given up.

    Over HTTP, because a gRPC client gives up by itself before the server tells it.
    """
    answer = batching_rest.post("/v1/models/half_plus_two:predict", {"instances": [1.0]})
    assert (answer.status, answer.error) == (429, "Run() timeout exceeded while waiting in batching queue")


@pytest.mark.row("batching queue-full")
def test_a_full_queue_refuses(padding_client: Client) -> None:
    """What does not fit into the only batch that may wait is UNAVAILABLE at once; the batch is answered."""
    waiting = padding_client.predict_future("half_plus_two", {"x": floats(1, 2, 3)})
    expected = Refusal(
        "UNAVAILABLE",
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued"
        " and max_enqueued_batches is 1",
    )
    second = padding_client.predict_future("half_plus_two", {"x": floats(4, 5)})
    outcomes = _outcomes([waiting, second])
    # Either may come first; the one that came second is refused.
    assert expected in outcomes
    answered = next(outcome for outcome in outcomes if outcome != expected)
    assert array(answered.outputs["y"]).tolist() in ([2.5, 3, 3.5], [4, 4.5])


def test_other_shapes_are_padded_with_their_own_first_element(padding_client: Client) -> None:
    """With padding on, two widths share a batch; the narrower row grows by its first element."""
    calls = [
        padding_client.predict_future("rank", {"x": rows})
        for rows in (floats([1, 2], [3, 4]), floats([1, 2, 3], [4, 5, 6]))
    ]
    sums = sorted(array(reply.outputs["y"]).tolist() for reply in _outcomes(calls))
    assert sums == [[4, 8], [6, 15]]


@pytest.mark.row("batching padding")
@pytest.mark.parametrize(
    ("odd", "message"),
    [
        pytest.param(
            np.zeros((2, 0), np.float32), "Got empty tensor in batch of non-empty tensors.", id="empty"
        ),
        pytest.param(
            np.zeros((2, *[1] * 6), np.float32),
            "Only tensors with rank from 1 to 6 can be padded.",
            id="rank",
        ),
    ],
)
def test_what_cannot_be_padded_fails_its_batch(padding_client: Client, odd: Any, message: str) -> None:
    """An empty tensor beside others, and one of more than six dimensions, refuse all of their batch."""
    other = np.ones((2, *[2] * (odd.ndim - 1)), np.float32)
    calls = [padding_client.predict_future("rank", {"x": tensor(rows)}) for rows in (odd, other)]
    assert _outcomes(calls) == [Refusal(INVALID, message)] * 2


def test_a_large_request_is_spread_over_batches(splitting_client: Client) -> None:
    """With splitting on, eight rows run as two batches of four and come back as one answer."""
    reply = splitting_client.predict("half_plus_two", {"x": floats(*range(8))})
    assert array(reply.outputs["y"]).tolist() == [value / 2 + 2 for value in range(8)]


@pytest.mark.row("batching too-many-rows-splitting")
def test_splitting_does_not_lift_the_limit_of_a_request(splitting_client: Client) -> None:
    """Above max_batch_size a request is refused as without splitting."""
    got = refusal(splitting_client.predict, "half_plus_two", {"x": floats(*range(9))})
    assert got == Refusal(INVALID, "Task size 9 is larger than maximum input batch size 8")


@pytest.mark.row("batching queue-full-splitting")
def test_a_full_queue_with_splitting_says_how_much_room_it_has(splitting_client: Client) -> None:
    """Two batches may wait: beside three rows there is room for five, so six are refused."""
    calls = [
        splitting_client.predict_future("half_plus_two", {"x": floats(*range(count))}) for count in (3, 6)
    ]
    refusals = [outcome for outcome in _outcomes(calls) if isinstance(outcome, Refusal)]
    assert [refused.code for refused in refusals] == ["UNAVAILABLE"]
    head = "The batch scheduling queue to which this task was submitted is full; task size is "
    assert refusals[0].message in {
        (
            f"{head}6 but scheduling capacity is only 5 (num_enqueued_batches=1, max_enqueued_batches=2,"
            " open_batch_size=3, max_execution_batch_size=4)"
        ),
        # The six came first.
        (
            f"{head}3 but scheduling capacity is only 2 (num_enqueued_batches=2, max_enqueued_batches=2,"
            " open_batch_size=2, max_execution_batch_size=4)"
        ),
    }
