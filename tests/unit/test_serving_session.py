"""Sessions: the faithful one, the public one behind it, and what becomes of TensorFlow's errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from riverlens.errors import SettingsError
from riverlens_serving import inspect
from riverlens_serving.session import (
    DirectSession,
    PublicSession,
    Session,
    as_array,
    open_session,
    serving_error,
)
from riverlens_serving.status import Code, ServingError
from tests.models import half_plus


def _graph() -> Any:
    graph = tf.Graph()
    with graph.as_default():
        a = tf.compat.v1.placeholder(tf.float32, [None, 2], name="a")
        b = tf.compat.v1.placeholder(tf.int64, [None], name="b")
        tf.add(tf.reduce_sum(a, axis=1), tf.cast(b, tf.float32), name="total")
        tf.constant(b"tail\0\0", name="bytes")
        tf.constant(1.5, name="scalar")
        tf.no_op("start")
        spin = tf.while_loop(lambda n: n < 2**62, lambda n: (n + 1,), [tf.constant(0, tf.int64)], name="loop")
        tf.identity(spin[0], name="never")
    return tf.compat.v1.Session(graph=graph)


@pytest.fixture(params=[DirectSession, PublicSession])
def session(request: pytest.FixtureRequest) -> Any:
    """Each kind of session on the same graph."""
    opened = request.param(_graph())
    yield opened
    opened.close()


A = np.ones((2, 2), np.float32)
B = np.array([1, 2])


def test_both_sessions_answer_alike(session: Session) -> None:
    """Outputs come in the order asked for, scalars as arrays, bytes whole."""
    total, text, scalar = session.run({"b:0": B, "a:0": A}, ["total:0", "bytes:0", "scalar:0"], 0)
    assert total.tolist() == [3, 4]
    assert text[()] == b"tail\0\0"
    assert scalar.shape == ()
    assert scalar == np.float32(1.5)
    assert session.data_type("total:0") == types_pb2.DT_FLOAT


def test_both_sessions_count_arguments_by_tensor_name(session: Session) -> None:
    """A wrong dtype is named by its place among the sorted tensor names, in C++'s type names."""
    with pytest.raises(ServingError) as caught:
        session.run({"b:0": B.astype(np.float64), "a:0": A}, ["total:0"], 0)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == "Expects arg[1] to be int64 but double is provided"


def test_both_sessions_end_at_their_timeout(session: Session) -> None:
    """A run that outlasts its timeout is DEADLINE_EXCEEDED, with TensorFlow's text."""
    with pytest.raises(ServingError) as caught:
        session.run({}, ["never:0"], 20)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert "Timed out waiting for notification" in caught.value.message


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (lambda s: s.run({}, ["none:0"], 0), "FetchOutputs node none:0: not found"),
        (lambda s: s.run({}, ["NoOp"], 0), "FetchOutputs node NoOp: not found"),
        (lambda s: s.run({"none:0": A}, ["scalar:0"], 0), "FeedInputs: unable to find feed output none:0"),
    ],
)
def test_a_tensor_that_is_not_in_the_graph(run: Callable[[Session], Any], text: str) -> None:
    """A signature that names no tensor of its graph is NOT_FOUND, as in DirectSession."""
    with pytest.raises(ServingError) as caught:
        run(DirectSession(_graph()))
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, text)


@pytest.mark.parametrize(("name", "count"), [("start", 0), ("scalar:1", 1)])
def test_an_operation_without_that_output_is_not_fetched(name: str, count: int) -> None:
    """DirectSession's words for an operation with fewer outputs: TF2's `__saved_model_init_op` has none."""
    with pytest.raises(ServingError) as caught:
        DirectSession(_graph()).run({}, [name], 0)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == f"FetchOutputs {name}: output index too large, must be < {count}"


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_a_call_with_a_deadline_leaves_nothing_behind() -> None:
    """Runs with a timeout take no memory that stays: it was 80 bytes each."""
    session = DirectSession(_graph())
    for _ in range(2_000):
        session.run({}, ["scalar:0"], 60_000)
    before_kib = _resident_kib()
    for _ in range(30_000):
        session.run({}, ["scalar:0"], 60_000)
    assert _resident_kib() - before_kib < 1_000  # what 30 000 left behind was 2 300


def test_the_faithful_session_is_the_one_in_use() -> None:
    """This TensorFlow has the private call; a session that lacks its parts gets the public one."""
    assert isinstance(open_session(_graph()), DirectSession)
    assert isinstance(open_session(object()), PublicSession)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), Code.RESOURCE_EXHAUSTED, "OOM"),
        (
            UnicodeDecodeError("utf-8", b"bad \xff bytes", 4, 5, "invalid start byte"),
            Code.INVALID_ARGUMENT,
            "bad � bytes",
        ),
        (ValueError("no checkpoint"), Code.UNKNOWN, "no checkpoint"),
        (KeyError(), Code.UNKNOWN, "KeyError"),
    ],
)
def test_errors_become_statuses(error: Exception, code: Code, text: str) -> None:
    """TensorFlow's code and text stay; raw bytes in a text are shown as far as they go."""
    made = serving_error(error)
    assert (made.code, made.message) == (code, text)


def test_bare_bytes_keep_their_trailing_zeros() -> None:
    """A fetched bytes object becomes an array whole; numpy's own conversion would cut it."""
    assert as_array(b"a\0")[()] == b"a\0"


def test_inspect_lists_signatures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The newest version's signatures are printed with alias, dtype, shape and tensor name."""
    half_plus(tmp_path / "2")
    (tmp_path / "1").mkdir()
    assert inspect.main([str(tmp_path)], "riverlens serving inspect") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "2")
    assert "serving_default  (tensorflow/serving/predict)" in lines
    assert "  in   x: float [?]  serving_default_x:0" in lines
    assert "  out  y: float [?]  StatefulPartitionedCall:0" in lines


def test_inspect_refuses_what_is_no_saved_model(tmp_path: Path) -> None:
    """A folder without a SavedModel, or with a file that is none, is one clear line."""
    with pytest.raises(SettingsError, match="no SavedModel"):
        inspect.version_folder(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(SettingsError, match="not a SavedModel"):
        list(inspect.describe(tmp_path))
