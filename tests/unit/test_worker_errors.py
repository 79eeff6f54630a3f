"""What a failed Predict call means: a row for each case that TensorFlow Serving knows."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.errors import BACKOFFS, Action, Limit, Verdict, decide
from tests.worker_parts import examples

TASK_SIZE = "Task size 33 is larger than maximum input batch size 16"
SIGNATURE = 'Serving signature key "x" not found.'
PADDING = "Tensors with name 'x' from different tasks have different shapes and padding is turned off."
LATER = "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes"
NODE = "\n\t [[{{node StatefulPartitionedCall}}]]"
TABLE = [
    ("UNAVAILABLE", "failed to connect to all addresses; Connection refused", Action.AWAY),
    ("UNAVAILABLE", "Socket closed", Action.AWAY),
    ("UNAVAILABLE", "", Action.AWAY),
    ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", Action.OVERLOAD),
    ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (6000000 vs. 4194304)", Action.SPLIT),
    ("RESOURCE_EXHAUSTED", "OOM when allocating tensor with shape[64,3,640,640]", Action.SPLIT),
    ("RESOURCE_EXHAUSTED", "", Action.OVERLOAD),
    ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", Action.OVERLOAD),
    ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!", Action.OVERLOAD),
    ("RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue", Action.OVERLOAD),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", Action.RETRY),
    ("DEADLINE_EXCEEDED", "Timed out waiting for notification", Action.RETRY),
    ("NOT_FOUND", "Servable not found for request: Latest(street)", Action.AWAY),
    ("NOT_FOUND", f"/data/table.txt; No such file or directory{NODE}", Action.RETRY),
    ("FAILED_PRECONDITION", SIGNATURE, Action.STOP),
    ("FAILED_PRECONDITION", PADDING, Action.OVERLOAD),
    ("FAILED_PRECONDITION", LATER, Action.STOP),
    ("FAILED_PRECONDITION", "Attempting to use uninitialized value w", Action.AWAY),
    ("FAILED_PRECONDITION", "Could not find variable w.", Action.AWAY),
    ("FAILED_PRECONDITION", "never listed", Action.RETRY),
    ("INVALID_ARGUMENT", TASK_SIZE, Action.SPLIT),
    ("INVALID_ARGUMENT", "Expects arg[0] to be uint8 but string is provided", Action.STOP),
    ("INVALID_ARGUMENT", "input size does not match signature: 2!=1", Action.STOP),
    ("INVALID_ARGUMENT", "output tensor alias not found in signature: boxes", Action.STOP),
    ("INVALID_ARGUMENT", "Missing ModelSpec", Action.STOP),
    ("INVALID_ARGUMENT", "Unknown image file format. One of JPEG, PNG, GIF, BMP required.", Action.BISECT),
    ("INVALID_ARGUMENT", f"Expects arguments that decode{NODE}", Action.BISECT),
    ("OUT_OF_RANGE", "slice index 4 of dimension 0 out of bounds", Action.BISECT),
    ("INTERNAL", "Blas GEMM launch failed", Action.RETRY),
    ("INTERNAL", "Received RST_STREAM with error code 2", Action.AWAY),
    ("UNKNOWN", "Predict internal error", Action.RETRY),
    ("UNKNOWN", "Stream removed", Action.AWAY),
    ("CANCELLED", "", Action.RETRY),
    ("ABORTED", "", Action.RETRY),
    ("DATA_LOSS", "corrupt", Action.RETRY),
    ("UNIMPLEMENTED", "", Action.STOP),
    ("UNIMPLEMENTED", f"Fused conv does not support this{NODE}", Action.RETRY),
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
    verdict = decide(code, details)
    assert verdict.passes or verdict.action is Action.SPLIT
    if code == "UNAVAILABLE":
        assert verdict.action in {Action.AWAY, Action.OVERLOAD}


@pytest.mark.parametrize(
    ("code", "text", "limit", "fraction"),
    [
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (600 vs. 400)", Limit.REPLY, 2 / 3),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (600 vs. 300)", Limit.REQUEST, 0.5),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (800 vs. 200)", Limit.REQUEST, 0.25),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", Limit.REQUEST, 0.5),
        ("RESOURCE_EXHAUSTED", "OOM when allocating tensor", Limit.MEMORY, 0.5),
        ("INVALID_ARGUMENT", TASK_SIZE, Limit.ROWS, 0.5),
    ],
)
def test_what_was_too_much_is_told(code: str, text: str, limit: Limit, fraction: float) -> None:
    """Rows, request, reply or memory; for messages also what part of the size would have passed."""
    verdict = decide(code, text)
    assert verdict.limit is limit
    assert verdict.fraction == pytest.approx(fraction)


def test_only_deadlines_count_as_timeouts_and_half_a_model_is_an_alert() -> None:
    """A dead letter says model_timeout for deadlines alone; a version that is not whole wants a person."""
    assert [text for code, text, _ in TABLE if decide(code, text).timed_out] == [
        "Deadline Exceeded",
        "Timed out waiting for notification",
    ]
    assert sum(decide(code, text).alert for code, text, _ in TABLE) == 2


def test_every_pause_has_its_backoff() -> None:
    """Whatever is asked again is asked again after a growing pause of at most two seconds."""
    waited = {action for action in Action if Verdict(action, "").passes}
    assert set(BACKOFFS) == waited
    assert all(backoff.delay_s(50, 1.0) <= 2 for backoff in BACKOFFS.values())
