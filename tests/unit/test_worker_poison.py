"""How guilty frames are searched for, how large calls are where they are frequent, and who is asked next."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.backoff import Backoff
from riverlens_worker.batching import Limits
from riverlens_worker.endpoint_load import STALE_S, EndpointLoad, order
from riverlens_worker.grouping import GuiltRate, best_rows, cost_per_frame
from riverlens_worker.limits import CallLimits
from riverlens_worker.messages import Batch, BatchReason
from riverlens_worker.pieces import Piece, after_pass, after_refusal, in_pieces, of_batch, release_rest
from riverlens_worker.servers import Server, parse_servers
from tests.worker_parts import decoded, examples

FULL = BatchReason.FULL


def _search(bad: set[int], total: int, rows: int) -> tuple[list[int], list[int], int]:
    """Frames answered, found guilty, and calls, as the predictor makes them: a bad frame fails its call."""
    waiting = in_pieces([decoded(n) for n in range(total)], rows, FULL)
    answered: list[int] = []
    guilty: list[int] = []
    calls = 0
    while waiting:
        piece = waiting.pop(0)
        offsets = [frame.source.offset for frame in piece.frames]
        calls += 1
        if not bad & set(offsets):
            answered += offsets
            waiting[:0] = after_pass(piece)
        elif len(offsets) > 1:
            waiting[:0] = after_refusal(piece)
        else:
            calls += 1
            guilty += offsets
            waiting[:0] = release_rest(piece)
    return answered, guilty, calls


@examples(200)
@given(st.integers(1, 70), st.integers(1, 40), st.sets(st.integers(0, 69)))
def test_exactly_the_guilty_are_found(total: int, rows: int, bad: set[int]) -> None:
    """Whatever frames are bad, each is found alone, and every other one is answered exactly once."""
    answered, guilty, _ = _search(bad, total, rows)
    assert sorted(guilty) == sorted(n for n in bad if n < total)
    assert sorted(answered) == sorted(n for n in range(total) if n not in bad)


@pytest.mark.parametrize("place", range(32))
def test_one_guilty_frame_costs_few_calls(place: int) -> None:
    """One among 32: the first call, at most two for each halving, wherever it lies, and one to be sure."""
    assert _search({place}, 32, 32)[2] <= 1 + 2 * 5 + 1


def test_expected_costs_are_those_of_the_search() -> None:
    """The costs that the choice goes by are what a search costs: within 3 % of 20,000 frames searched."""
    chance = random.Random(5)  # noqa: S311  # no secret
    bad = {n for n in range(20_000) if chance.random() < 0.05}
    for rows in (4, 8, 16):
        calls = _search(bad, 20_000, rows)[2]
        assert calls / 20_000 == pytest.approx(cost_per_frame(0.05, 1.0, 0.0, rows)[-1], rel=0.03)


@pytest.mark.parametrize(
    ("share", "cost", "best"),
    [
        (0.0, (0.005, 0.001), 32),
        (0.05, None, 32),
        (0.0005, (0.005, 0.001), 32),
        (0.05, (0.0, 0.01), 1),
        (0.05, (0.02, 0.0001), 16),
        (0.5, (0.02, 0.0001), 1),
    ],
)
def test_calls_are_as_large_as_is_cheapest(share: float, cost: tuple[float, float] | None, best: int) -> None:
    """Without poison as large as may be; where rows cost all, single; where calls cost all, in between."""
    assert best_rows(share, cost, 32) == best


def test_the_share_of_guilt_follows_what_happens() -> None:
    """It starts at nought, finds 5 % within some per cent, and falls again once the poison is gone."""
    rate = GuiltRate()
    assert rate.share == 0
    for _ in range(200):
        rate.add(19)
        rate.add(1, guilty=1)
    assert rate.share == pytest.approx(0.05, abs=0.01)
    for _ in range(400):
        rate.add(20)
    assert rate.share < 0.001


def test_limits_are_kept_or_given_back() -> None:
    """The server's limit stays, memory's grows back by one after 20 full calls, poison's is set anew."""
    limits = CallLimits(Limits(32, 1000))
    limits.refused_rows(16)
    limits.refused_rows(20)
    limits.refused_bytes(500)
    assert limits.current() == Limits(16, 500)
    limits.ran_out_of_memory(16)
    assert limits.current().rows == 8
    assert [limits.passed(8) for _ in range(20)] == [False] * 19 + [True]
    assert limits.current().rows == 9
    assert not limits.passed(3)
    assert limits.group(4)
    assert not limits.group(4)
    assert (limits.current().rows, limits.ungrouped_rows) == (4, 9)
    limits.ran_out_of_memory(1)
    assert limits.current().rows == 1


def _known(service_s: float, now_s: float, calls: int = 2) -> EndpointLoad:
    """A server that answered calls of 4 rows in `service_s` lately."""
    load = EndpointLoad(calls)
    for at_s in (now_s - 2 * service_s, now_s - service_s):
        load.passed_s = at_s
        call = load.start(4, at_s)
        load.passed(call, at_s + service_s)
        load.end(call)
    return load


def test_the_server_that_answers_first_is_asked() -> None:
    """An idle slow server waits while a quick one with work would answer sooner, and no longer."""
    quick, slow = _known(0.01, 100.0), _known(0.1, 100.0)
    assert order([slow, quick], 4, 100.0) == [1, 0]
    quick.start(4, 100.0)
    assert order([slow, quick], 4, 100.0) == [1, 0]
    for _ in range(12):
        quick.start(4, 100.0)
    assert order([slow, quick], 4, 100.0) == [0, 1]


def test_a_server_that_was_not_asked_for_long_is_tried_again() -> None:
    """A cost nobody proved for seconds counts as the lowest: a slow server may have recovered."""
    quick, slow = _known(0.01, 100.0), _known(0.1, 100.0 - STALE_S - 1)
    assert order([quick, slow], 4, 100.0) == [1, 0]


def test_overload_halves_once_for_calls_that_were_together() -> None:
    """Four calls refused together halve the limit once and pause once; passes bring it back slowly."""
    load = EndpointLoad(4)
    calls = [load.start(1, 1.0) for _ in range(4)]
    pauses = [load.overloaded(call, 1.1, Backoff(100, 2000), 1.0) for call in calls]
    assert pauses == pytest.approx([0.1] * 4)
    for call in calls:
        load.end(call)
    assert not load.has_room(1.15)
    assert load.has_room(1.25)
    assert load.calls_limit == 2
    for _ in range(200):
        call = load.start(1, 2.0)
        load.passed(call, 2.0)
        load.end(call)
    assert load.calls_limit == 4


def test_two_timeouts_in_a_row_count_as_gone() -> None:
    """One call past its deadline may be its own fault; an answer between starts the count again."""
    load = EndpointLoad(4)
    assert not load.timed_out()
    load.passed(load.start(1, 1.0), 1.1)
    assert not load.timed_out()
    assert load.timed_out()


def test_what_a_piece_may_fail() -> None:
    """Three tries for a batch and for a single frame; a part of a batch that is searched has one."""
    frames = [decoded(n) for n in range(4)]
    assert not Piece(frames, FULL, tries=2).worn_out
    assert Piece(frames, FULL, tries=3).worn_out
    assert Piece(frames, FULL, tries=1, searched=True).worn_out
    assert not Piece(frames[:1], FULL, tries=2, searched=True).worn_out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a:8500", [Server("a", 8500)]),
        ("a:1, b-1.x:2", [Server("a", 1), Server("b-1.x", 2)]),
        ("[::1]:8500", [Server("[::1]", 8500)]),
        ("dns:///models.prod:8500", [Server("models.prod", 8500, every_address=True)]),
    ],
)
def test_servers_are_read(text: str, found: list[Server]) -> None:
    """One address, several, IPv6, and a name of which every address counts."""
    assert parse_servers(text) == tuple(found)


@pytest.mark.parametrize(
    "text", ["", "a", "a:0", "a:99999", "a:1,,b:2", "a:1,a:1", "http://a:1", "a:1;b:2", "x/y:1"]
)
def test_what_is_no_server_is_refused(text: str) -> None:
    """One line that names the setting."""
    with pytest.raises(ValueError, match="server") as caught:
        parse_servers(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "first", "rows", "sizes", "full"),
    [
        (FULL, 8, 8, [8], [True]),
        (BatchReason.BYTES, 8, 32, [8], [True]),
        (BatchReason.DEVICE_FREE, 8, 8, [8], [False]),
        (FULL, 4, 8, [4, 4], [False] * 2),
        (FULL, 8, 3, [3, 3, 2], [False] * 3),
        (FULL, 2, 3, [2, 3, 3], [False] * 3),
    ],
)
def test_a_batch_becomes_calls(
    reason: BatchReason, first: int, rows: int, sizes: list[int], full: list[bool]
) -> None:
    """As it is, as a pair, or in parts as large as a call may be; only what could not have grown is full."""
    frames = [decoded(n) for n in range(8)]
    pieces = of_batch(Batch(frames, reason, 0.0), first, rows)
    assert [len(piece.frames) for piece in pieces] == sizes
    assert [frame for piece in pieces for frame in piece.frames] == frames
    assert [piece.full for piece in pieces] == full
