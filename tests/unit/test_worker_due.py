"""When the next batch will leave, as those are told who bring its frames."""

from __future__ import annotations

import pytest

from riverlens_worker.endpoint_load import EndpointLoad, next_due_in_s


def _known_server(device_s: float) -> tuple[EndpointLoad, float]:
    """One that answered some calls of 8 rows, each alone, and the time after that."""
    load, now_s = EndpointLoad(2), 0.0
    for _ in range(8):
        call = load.start(8, now_s)
        now_s += device_s + 0.002
        load.passed(call, now_s)
        load.end(call)
    return load, now_s


def test_behind_two_calls_the_next_batch_leaves_before_the_second_answer() -> None:
    """As the second one left before the first answer: who waits for the answer itself comes too late."""
    load, now_s = _known_server(0.04)
    load.start(8, now_s)
    load.start(8, now_s + 0.038)
    assert load.due_s(full=False) == float("inf"), "only an answer can tell"
    due_in_s = next_due_in_s([load], now_s + 0.038, full=False)
    answer_in_s = 0.042 - 0.038 + 0.04
    assert due_in_s == pytest.approx(answer_in_s - load.clock.lead.seconds, abs=0.001)
    assert load.clock.lead.seconds > 0.002


def test_an_idle_server_takes_its_batch_at_once_and_of_an_unknown_one_nothing_is_said() -> None:
    """Not in the future: a first frame is asked for at once."""
    load, now_s = _known_server(0.04)
    assert next_due_in_s([load], now_s + 1.0, full=False) <= 0
    unknown = EndpointLoad(2)
    unknown.start(8, 0.0)
    unknown.start(8, 0.0)
    assert next_due_in_s([unknown], 0.1, full=False) <= 0
    assert next_due_in_s([], 0.1, full=False) <= 0
