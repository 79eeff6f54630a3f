"""Batches at work: merging and splitting tensors, and the threads that do it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_serving.batching import Batcher, BatchingSession
from riverlens_serving.batching_merge import count_rows, merge, split
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array
from tests.model_servers import wait_for


def _array(*shape: int) -> Array:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sets(st.integers(1, 40)))
def test_split_undoes_merge(rows: list[int], allowed: set[int]) -> None:
    """Each request gets back its own rows, whatever padding the allowed sizes add."""
    parameters = BatchingParameters(max_batch_size=40, allowed_batch_sizes=tuple(sorted(allowed)))
    tasks = [{"x": np.full((count, 2), number, np.int64)} for number, count in enumerate(rows)]
    merged = merge(tasks, parameters)
    assert len(merged["x"]) == parameters.next_allowed(sum(rows))
    parts = split([merged["x"]], rows, parameters)
    assert [part.tolist() for (part,) in parts] == [task["x"].tolist() for task in tasks]


def test_padding_repeats_the_first_row_of_the_last_task() -> None:
    """Rows that padding adds are a row that some caller did send."""
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(8,))
    merged = merge([{"x": np.array([1, 2])}, {"x": np.array([7, 8])}], parameters)
    assert merged["x"].tolist() == [1, 2, 7, 8, 7, 7, 7, 7]


def test_variable_lengths_are_padded_with_each_tensors_own_first_element() -> None:
    """With pad_variable_length_inputs, dimensions after the first grow to the largest in the batch."""
    parameters = BatchingParameters(pad_variable_length_inputs=True)
    strings = np.array([[b"a"]], object)
    merged = merge([{"x": np.array([[5, 6]])}, {"x": np.array([[9, 8, 7]])}], parameters)
    assert merged["x"].tolist() == [[5, 6, 5], [9, 8, 7]]
    grown = merge([{"x": strings}, {"x": np.array([[b"b", b"c"]], object)}], parameters)
    assert grown["x"].tolist() == [[b"a", b"a"], [b"b", b"c"]]


@pytest.mark.parametrize(
    ("tasks", "pad", "code", "text"),
    [
        pytest.param(
            [{"x": _array(1, 2)}, {"x": _array(1, 3)}],
            False,
            Code.FAILED_PRECONDITION,
            "Tensors with name 'x' from different tasks have different shapes and padding is turned off.",
            id="shapes",
        ),
        pytest.param(
            [{"x": _array(1, 2)}, {"x": _array(1, 2).astype(np.float64)}],
            False,
            Code.INTERNAL,
            "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different"
            " data types. Got float and double.",
            id="dtypes",
        ),
        pytest.param(
            [{"x": _array(1, 0)}, {"x": _array(1, 2)}],
            True,
            Code.INVALID_ARGUMENT,
            "Got empty tensor in batch of non-empty tensors.",
            id="empty-while-padding",
        ),
        pytest.param(
            [{"x": _array(1, 1, 1, 1, 1, 1, 1)}, {"x": _array(1, 1, 1, 1, 1, 1, 2)}],
            True,
            Code.INVALID_ARGUMENT,
            "Only tensors with rank from 1 to 6 can be padded.",
            id="rank-7-while-padding",
        ),
        pytest.param(
            [{"x": _array(1, 2)}, {"x": _array(1, 2, 2)}],
            True,
            Code.INTERNAL,
            "Tensor concat operation failed: ",
            id="ranks-while-padding",
        ),
    ],
)
def test_requests_that_do_not_merge(
    tasks: list[dict[str, Array]],
    pad: bool,  # noqa: FBT001  # a column of the table
    code: Code,
    text: str,
) -> None:
    """What does not fit into one batch has TensorFlow Serving's code and text."""
    with pytest.raises(ServingError) as caught:
        merge(tasks, BatchingParameters(pad_variable_length_inputs=pad))
    assert caught.value.code is code
    assert caught.value.message.startswith(text)


def test_a_request_without_inputs_cannot_be_batched() -> None:
    """A signature that takes nothing has no rows to count."""
    with pytest.raises(ServingError, match=r"Batching Run\(\) must have at least one input tensor"):
        count_rows({})


@dataclass
class Doubling:
    """A session that doubles `x`, keeps the sizes of its runs, and can be made to wait or to fail."""

    runs: list[int] = field(default_factory=list)
    timeouts_ms: list[int] = field(default_factory=list)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_finish: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None
    closed: bool = False

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """Doubled, once `may_finish` is set."""
        self.runs.append(len(feeds["x"]))
        self.timeouts_ms.append(timeout_ms)
        self.entered.release()
        assert self.may_finish.wait(10)
        if self.failure is not None:
            raise self.failure
        return [feeds["x"] * 2 for _ in fetches]

    def data_type(self, tensor_name: str) -> int:
        """Any number."""
        return len(tensor_name)

    def close(self) -> None:
        """Remembered."""
        self.closed = True


def _run(session: BatchingSession, *values: int, timeout_ms: int = 0) -> Any:
    return session.run({"x": np.array(values)}, ["y"], timeout_ms)[0].tolist()


def test_requests_that_come_while_the_thread_is_busy_share_the_next_run() -> None:
    """With one thread and no timeout, batches form while it is busy, and each caller gets its own rows."""
    inner = Doubling()
    batcher = Batcher(BatchingParameters(max_batch_size=8, num_batch_threads=1))
    session = BatchingSession(inner, batcher)
    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(_run, session, 1)
        assert inner.entered.acquire(timeout=60)
        rest = [callers.submit(_run, session, n, n) for n in (2, 3)]
        wait_for(lambda: batcher.waiting == 2)
        inner.may_finish.set()
        assert first.result() == [2]
        assert [call.result() for call in rest] == [[4, 4], [6, 6]]
    assert inner.runs == [1, 4]
    session.close()
    assert inner.closed
    batcher.stop()


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (invalid("bad image"), Code.INVALID_ARGUMENT, "bad image"),
        (MemoryError("none left"), Code.INTERNAL, "batching failed: none left"),
    ],
)
def test_a_failing_run_fails_every_caller_of_its_batch(failure: Exception, code: Code, text: str) -> None:
    """All requests merged into a run get its status; a defect reaches them too instead of hanging them."""
    inner = Doubling(failure=failure)
    inner.may_finish.set()
    batcher = Batcher(
        BatchingParameters(max_batch_size=2, batch_timeout_micros=10_000_000, num_batch_threads=1)
    )
    session = BatchingSession(inner, batcher)
    with ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(_run, session, 1) for _ in range(2)]
        for call in calls:
            error = call.exception()
            assert isinstance(error, ServingError)
            assert (error.code, error.message) == (code, text)
    assert inner.runs == [2]
    batcher.stop()


def test_a_batch_past_every_deadline_is_not_run() -> None:
    """If all requests of a batch outlived their deadlines in the queue: RESOURCE_EXHAUSTED, and no run."""
    inner = Doubling()
    batcher = Batcher(BatchingParameters(max_batch_size=1, num_batch_threads=1))
    session = BatchingSession(inner, batcher)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(_run, session, 1)
        assert inner.entered.acquire(timeout=60)
        late = callers.submit(_run, session, 2, timeout_ms=1)
        wait_for(lambda: batcher.waiting == 1)
        threading.Event().wait(0.005)  # lets the request's own millisecond pass; no state tells it
        inner.may_finish.set()
        assert first.result() == [2]
        error = late.exception()
    assert isinstance(error, ServingError)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.message == "Run() timeout exceeded while waiting in batching queue"
    assert inner.runs == [1]
    batcher.stop()


def test_a_batch_runs_under_its_latest_deadline() -> None:
    """The longest timeout of a batch bounds its run; one request without a deadline lifts it."""
    inner = Doubling()
    inner.may_finish.set()
    batcher = Batcher(
        BatchingParameters(max_batch_size=2, batch_timeout_micros=10_000_000, num_batch_threads=1)
    )
    session = BatchingSession(inner, batcher)
    with ThreadPoolExecutor(2) as callers:
        for pair in ((20_000, 60_000), (0, 60_000)):
            list(callers.map(lambda timeout_ms: _run(session, 1, timeout_ms=timeout_ms), pair))
    bounded, unbounded = inner.timeouts_ms
    assert 20_000 < bounded <= 60_000
    assert unbounded == 0
    batcher.stop()


def test_zero_rows_do_not_wait_for_company() -> None:
    """A request of no rows is run alone: a batch of size 0 would never be due."""
    inner = Doubling()
    inner.may_finish.set()
    batcher = Batcher(BatchingParameters(batch_timeout_micros=10_000_000, num_batch_threads=1))
    assert _run(BatchingSession(inner, batcher)) == []
    batcher.stop()
