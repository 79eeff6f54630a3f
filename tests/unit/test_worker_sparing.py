"""How much smaller full calls are while one partition is behind and others keep up: sparing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.batching import Limits, OpenBatches
from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.endpoint_load import EndpointLoad
from riverlens_worker.messages import BatchReason
from riverlens_worker.sparing import Sparing, spared_rows
from tests.worker_parts import decoded, examples

MOST = 32


def _taught(a_ms: float, b_ms: float, load: EndpointLoad) -> EndpointLoad:
    """The load after calls of several sizes, then of full ones."""
    for rows in (8, 8, 16, 16, 24, 24, *(8 * [MOST])):
        load.fit.add(rows, (a_ms + b_ms * rows) / 1000)
    return load


@examples(200)
@given(st.floats(0.1, 50), st.floats(0.01, 5), st.integers(1, 128))
def test_a_spared_call_keeps_the_devices_rate_and_nine_tenths_of_its_rows(
    a_ms: float, b_ms: float, most: int
) -> None:
    """The fewest rows that do so: one row less would keep too little of one or the other."""
    fit = ServiceTimeFit()
    for rows in (1, 1, most, most, 2 * most, 2 * most) * 10:
        fit.add(rows, (a_ms + b_ms * rows) / 1000)
    cost = fit.cost()
    assert cost is not None

    def kept(rows: int) -> float:
        return rows / (cost[0] + cost[1] * rows) * (cost[0] + cost[1] * most) / most

    rows = spared_rows(fit, most)
    assert 0.9 * most <= rows <= most
    assert kept(rows) >= 0.98 - 1e-9
    assert rows == most or kept(rows - 1) < 0.98 or rows - 1 < 0.9 * most


@pytest.mark.parametrize(("a_ms", "b_ms", "rows"), [(20, 3, 29), (3, 0.4, 29), (20, 0, 32), (1, 3, 29)])
def test_calls_beside_a_backlog_are_smaller_where_that_costs_next_to_nothing(
    a_ms: float, b_ms: float, rows: int
) -> None:
    """Both devices of the benchmarks; one whose calls all take the same; one that is paid by the row."""
    load = _taught(a_ms, b_ms, EndpointLoad(8))
    assert Sparing(lambda: True, lambda: [load]).rows(MOST) == rows
    assert Sparing(lambda: False, lambda: [load]).rows(MOST) == MOST


def test_the_server_that_bears_it_least_decides() -> None:
    """Of several servers, each call may go to any; where nothing is known of one, calls stay full."""
    cheap, flat = _taught(3, 0.4, EndpointLoad(8)), _taught(20, 0.1, EndpointLoad(8))
    assert Sparing(lambda: True, lambda: [cheap, flat]).rows(MOST) == spared_rows(flat.fit, MOST) > 29
    assert Sparing(lambda: True, lambda: [cheap, EndpointLoad(8)]).rows(MOST) == MOST


@pytest.mark.parametrize("full_calls", [0, 12])
def test_where_calls_are_padded_they_are_full_again(full_calls: int) -> None:
    """A server that runs 29 rows as 32 is found out by a few answers, and tried again much later."""
    load = EndpointLoad(8)
    sparing = Sparing(lambda: True, lambda: [load])

    def ask() -> int:
        rows = sparing.rows(MOST)
        padded = min(size for size in (1, 2, 4, 8, 16, 32) if size >= rows)
        load.fit.add(rows, (20 + 3 * padded) / 1000)
        return rows

    for rows in (4, 4, 8, 8, 16, 16, *(full_calls * [MOST])):
        load.fit.add(rows, (20 + 3 * rows) / 1000)
    asked = [ask() for _ in range(2000)]
    spared = [number for number, rows in enumerate(asked) if rows < MOST]
    assert 0 < len(spared) < 0.02 * len(asked)
    assert spared[0] == 0, "it is tried"


def test_calls_that_do_not_pad_stay_spared() -> None:
    """Answers that prove the cost change nothing; now and then a few full calls prove it again."""
    load = _taught(20, 3, EndpointLoad(8))
    sparing = Sparing(lambda: True, lambda: [load])
    asked = []
    for _ in range(3000):
        asked.append(sparing.rows(MOST))
        load.fit.add(asked[-1], (20 + 3 * asked[-1]) / 1000)
    assert asked[:1000] == 1000 * [29]
    assert set(asked) == {29, MOST}
    assert asked.count(MOST) < 0.005 * len(asked)


def test_calls_that_tell_no_cost_are_full_again() -> None:
    """Beside other clients of a server no answer proves anything: it is left after 64 calls."""
    load = _taught(20, 3, EndpointLoad(8))
    sparing = Sparing(lambda: True, lambda: [load])
    asked = [sparing.rows(MOST) for _ in range(1000)]
    assert asked == 64 * [29] + 936 * [MOST]


def test_each_server_has_to_prove_it() -> None:
    """One of two that pads its calls is found out, though the other one proved it before."""
    honest, padding = _taught(20, 3, EndpointLoad(8)), _taught(20, 3, EndpointLoad(8))
    sparing = Sparing(lambda: True, lambda: [honest, padding])
    asked = []
    for _ in range(60):
        asked.append(sparing.rows(MOST))
        load = honest if len(asked) <= 20 else padding
        load.fit.add(asked[-1], (20 + 3 * (asked[-1] if load is honest else MOST)) / 1000)
    assert asked[:20] == 20 * [29]
    assert asked[-20:] == 20 * [MOST]


def test_without_full_calls_to_compare_with_some_are_sent() -> None:
    """After quiet times only small calls are known: a few full ones prove it, and no more are sent."""
    load = EndpointLoad(8)
    for rows in (2, 2, 3, 3, *(16 * [4, 6, 8])):
        load.fit.add(rows, (20 + 3 * rows) / 1000)
    sparing, asked = Sparing(lambda: True, lambda: [load]), []
    for _ in range(500):
        asked.append(sparing.rows(MOST))
        load.fit.add(asked[-1], (20 + 3 * asked[-1]) / 1000)
    assert asked[0] == 29
    assert 0 < asked.count(MOST) < 10
    assert asked[-300:] == 300 * [29]


def test_only_a_batch_that_leaves_rows_behind_is_spared() -> None:
    """Whoever waits with no more rows than a call takes gets them all in it."""
    asked: list[int] = []

    def spared(most: int) -> int:
        asked.append(most)
        return 7

    waiting = OpenBatches(Limits(8, 1 << 20), spared=spared)
    for offset in range(15):
        waiting.add(decoded(offset))
    found = [waiting.take(1.0) for _ in range(2)]
    assert [(len(batch.frames), batch.reason) for batch in found if batch] == [
        (7, BatchReason.FULL),
        (8, BatchReason.FULL),
    ]
    assert asked == [8]


def test_a_limit_that_was_learnt_is_not_spared() -> None:
    """After a server ran out of memory, calls at the limit are what lets it grow again."""
    waiting = OpenBatches(Limits(8, 1 << 20), spared=lambda most: most - 1)
    waiting.limits = Limits(4, 1 << 20)
    for offset in range(9):
        waiting.add(decoded(offset))
    batch = waiting.take(1.0)
    assert batch is not None
    assert len(batch.frames) == 4
