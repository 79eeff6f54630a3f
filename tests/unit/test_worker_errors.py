"""What a failed Predict call means: a row for each case that TensorFlow Serving knows."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.errors import Action, decide
from tests.worker_parts import examples

TASK_SIZE = "Task size 33 is larger than maximum input batch size 16"
SIGNATURE = 'Serving signature key "x" not found.'
TABLE = [
    ("UNAVAILABLE", "failed to connect to all addresses; Connection refused", Action.RETRY),
    ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", Action.RETRY),
    ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (6000000 vs. 4194304)", Action.SPLIT),
    ("RESOURCE_EXHAUSTED", "OOM when allocating tensor with shape[64,3,640,640]", Action.SPLIT),
    ("RESOURCE_EXHAUSTED", "", Action.RETRY),
    ("RESOURCE_EXHAUSTED", "Threadpool is exhausted", Action.RETRY),
    ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!", Action.RETRY),
    ("RESOURCE_EXHAUSTED", "Run() timeout exceeded", Action.RETRY),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", Action.RETRY),
    ("NOT_FOUND", "Servable not found for request: Latest(street)", Action.RETRY),
    ("FAILED_PRECONDITION", SIGNATURE, Action.STOP),
    (
        "FAILED_PRECONDITION",
        "Tensors with name 'x' from different tasks have different shapes and padding is turned off.",
        Action.RETRY,
    ),
    (
        "FAILED_PRECONDITION",
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes",
        Action.STOP,
    ),
    ("FAILED_PRECONDITION", "Attempting to use uninitialized value w", Action.RETRY),
    ("FAILED_PRECONDITION", "Could not find variable w.", Action.RETRY),
    ("INVALID_ARGUMENT", TASK_SIZE, Action.SPLIT),
    ("INVALID_ARGUMENT", "Expects arg[0] to be uint8 but string is provided", Action.STOP),
    ("INVALID_ARGUMENT", "input size does not match signature: 2!=1", Action.STOP),
    ("INVALID_ARGUMENT", "output tensor alias not found in signature: boxes", Action.STOP),
    ("INVALID_ARGUMENT", "Missing ModelSpec", Action.STOP),
    ("INVALID_ARGUMENT", "Unknown image file format. One of JPEG, PNG, GIF, BMP required.", Action.BISECT),
    ("OUT_OF_RANGE", "slice index 4 of dimension 0 out of bounds", Action.BISECT),
    ("INTERNAL", "Blas GEMM launch failed", Action.RETRY),
    ("UNKNOWN", "Stream removed", Action.RETRY),
    ("CANCELLED", "", Action.RETRY),
    ("ABORTED", "", Action.RETRY),
    ("UNIMPLEMENTED", "", Action.STOP),
    ("PERMISSION_DENIED", "no", Action.STOP),
    ("UNAUTHENTICATED", "who are you", Action.STOP),
]


@pytest.mark.parametrize(("code", "details", "action"), TABLE)
def test_every_status_has_its_action(code: str, details: str, action: Action) -> None:
    """A server away is waited for, a poisonous frame is looked for, a wrong setting stops the worker."""
    verdict = decide(code, details)
    assert verdict.action is action
    assert verdict.why


def test_the_servers_batch_limit_is_learnt_from_its_text() -> None:
    """The number in the refusal is the most rows that a call may hold; elsewhere none is guessed."""
    assert decide("INVALID_ARGUMENT", TASK_SIZE).max_rows == 16
    assert all(decide(code, text).max_rows is None for code, text, _ in TABLE if text != TASK_SIZE)


def test_a_refused_signature_names_the_setting() -> None:
    """The one line that a person reads holds the server's text and the setting that mends it."""
    why = decide("FAILED_PRECONDITION", SIGNATURE).why
    assert SIGNATURE in why
    assert "setting signature" in why


@examples()
@given(st.sampled_from([code.name for code in grpc.StatusCode]), st.text())
def test_every_status_and_text_gets_a_verdict(code: str, details: str) -> None:
    """Whatever the server says, there is an action, and its reason is one line of bounded length."""
    verdict = decide(code, details)
    assert isinstance(verdict.action, Action)
    assert "\n" not in verdict.why
    assert len(verdict.why) < 400


@pytest.mark.parametrize("code", ["UNAVAILABLE", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
@examples()
@given(details=st.text())
def test_absence_and_overload_never_blame_a_frame(code: str, details: str) -> None:
    """No text makes an absent or overloaded server bisect a batch: that would dead-letter good frames."""
    assert decide(code, details).action in {Action.RETRY, Action.SPLIT}
