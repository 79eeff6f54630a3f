"""The simulated device: what runs when, and what it reads and answers on the wire."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cost import Cost
from benchmarks.device.schedule import Batch, Schedule, Setup
from benchmarks.device.wire import detector_answer, rows_in, signature_in
from riverlens.signature import InputKind, Layout, OutputKind
from riverlens_worker._stubs import PredictRequest, PredictResponse
from riverlens_worker.predict_request import predict_request
from riverlens_worker.tensors import read_reply

COST = Cost(20, 3)


def _run(setup: Setup, calls: list[tuple[float, int]], until_s: float = 100.0) -> list[Batch]:
    """All batches of calls (arrival in seconds, rows), the schedule asked at each arrival and at the end."""
    schedule = Schedule(setup)
    batches: list[Batch] = []
    for number, (arrived_s, rows) in enumerate(calls):
        batches += schedule.begin(arrived_s)
        schedule.add(number, rows, arrived_s)
    return batches + schedule.begin(until_s)


def test_a_call_begins_when_it_has_come_and_the_device_is_free() -> None:
    """By hand: 4 rows take 32 ms; the second call waits for the first, the third for nothing."""
    batches = _run(Setup(COST), [(0.0, 4), (0.010, 2), (0.100, 1)])
    assert [batch.begun_s for batch in batches] == pytest.approx([0.0, 0.032, 0.100])
    assert [batch.ended_s for batch in batches] == pytest.approx([0.032, 0.058, 0.123])


def test_late_asking_changes_nothing() -> None:
    """Begin and end are computed, so a schedule that is asked only at the end has run the same."""
    calls = [(0.0, 32), (0.001, 32), (0.300, 5)]
    asked_late = Schedule(Setup(COST))
    for number, (arrived_s, rows) in enumerate(calls):
        asked_late.add(number, rows, arrived_s)
    assert asked_late.begin(100.0) == _run(Setup(COST), calls)


def test_waiting_calls_share_a_batch_where_the_server_merges() -> None:
    """By hand: while 8 rows run, 8 + 16 + 16 come: the first two share a batch, the third does not fit."""
    setup = Setup(COST, merge_rows=32)
    batches = _run(setup, [(0.0, 8), (0.010, 8), (0.020, 16), (0.030, 16)])
    assert [(batch.rows, batch.calls) for batch in batches] == [(8, (0,)), (24, (1, 2)), (16, (3,))]
    assert batches[1].begun_s == pytest.approx(0.044)


def test_a_batch_holds_only_calls_that_had_come_when_it_began() -> None:
    """A call that comes a millisecond after the begin waits, however late the schedule is asked."""
    batches = _run(Setup(COST, merge_rows=32), [(0.0, 1), (0.001, 1)])
    assert [batch.calls for batch in batches] == [(0,), (1,)]


def test_two_devices_work_side_by_side() -> None:
    """Two calls at once run at once, the third after the one that ends first."""
    batches = _run(Setup(COST, devices=2), [(0.0, 4), (0.0, 1), (0.001, 1)])
    assert [batch.begun_s for batch in batches] == pytest.approx([0.0, 0.0, 0.023])
    assert [batch.device for batch in batches] == [0, 1, 1]


def test_a_slower_device_is_slower_from_the_next_batch_on() -> None:
    """What runs ends as it was told; the batch that begins after the change takes three times as long."""
    schedule = Schedule(Setup(COST))
    schedule.add(0, 1, 0.0)
    schedule.add(1, 1, 0.0)
    first = schedule.begin(0.001)
    schedule.change(Setup(COST, factor=3))
    [second] = schedule.begin(1.0)
    assert first[0].ended_s == pytest.approx(0.023)
    assert second.ended_s - second.begun_s == pytest.approx(0.069)


def test_a_call_larger_than_the_servers_batches_is_refused_in_its_words() -> None:
    """The text is TensorFlow Serving's, from which the worker learns the limit."""
    text = Schedule(Setup(COST, merge_rows=32)).refuses(64)
    assert text == "Task size 64 is larger than maximum input batch size 32"
    assert Schedule(Setup(COST)).refuses(64) is None


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 32)), max_size=40),
    st.integers(1, 3),
    st.sampled_from([None, 32, 64]),
)
def test_every_call_runs_once_and_no_device_runs_two(
    calls: list[tuple[float, int]], devices: int, merge_rows: int | None
) -> None:
    """Whatever comes: each call in one batch, in order, none before it came, none beside another."""
    batches = _run(Setup(COST, devices, merge_rows), sorted(calls))
    assert [call for batch in batches for call in batch.calls] == list(range(len(calls)))
    for device in range(devices):
        own = [batch for batch in batches if batch.device == device]
        assert all(one.ended_s <= two.begun_s + 1e-9 for one, two in itertools.pairwise(own))
    assert all(batch.begun_s >= sorted(calls)[batch.calls[-1]][0] for batch in batches)


PIXELS = Layout(
    "input_tensor",
    "images",
    InputKind.PIXELS,
    "uint8",
    None,
    None,
    None,
    OutputKind.ARRAYS,
    ("detection_boxes",),
)
STRINGS = Layout(
    "serving_default", "images", InputKind.ENCODED, "string", None, None, None, OutputKind.ARRAYS, ("y",)
)


@pytest.mark.parametrize("count", [1, 3, 32, 200])
@pytest.mark.parametrize("layout", [PIXELS, STRINGS], ids=["pixels", "strings"])
def test_rows_are_read_from_the_bytes_of_the_workers_own_requests(layout: Layout, count: int) -> None:
    """The number of rows that the walk over the bytes finds is that of the request."""
    row = np.zeros((4, 4, 3), np.uint8) if layout is PIXELS else b"x" * 50_000
    request = predict_request("detector", layout, [row] * count)
    assert rows_in(request) == count
    assert signature_in(request) == layout.signature


def test_a_request_without_inputs_has_no_rows() -> None:
    """It is refused, not taken for an empty one."""
    with pytest.raises(ValueError, match="without inputs"):
        rows_in(PredictRequest().SerializeToString())


def test_the_answer_is_what_a_detector_of_the_object_detection_api_answers() -> None:
    """Read by the worker's own reader: shapes, version, and how many scores are sure."""
    version, arrays = read_reply(PredictResponse.FromString(detector_answer("detector", 3, 100, 4)))
    assert version == 1
    assert {alias: array.shape for alias, array in arrays.items()} == {
        "detection_boxes": (3, 100, 4),
        "detection_scores": (3, 100),
        "detection_classes": (3, 100),
        "num_detections": (3,),
    }
    assert (arrays["detection_scores"].astype(float) > 0.3).sum(axis=1).tolist() == [4, 4, 4]
