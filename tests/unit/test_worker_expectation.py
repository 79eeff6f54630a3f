"""What is expected of a server's answers, and how often the transport is looked at again."""

from __future__ import annotations

from riverlens_worker.expectation import Expectation

A_S, B_S, TRANSPORT_S = 0.02, 0.003, 0.004


def _known() -> Expectation:
    """A device that costs A_S + B_S a row, by calls that queued for it; its transport has been looked at."""
    expectation = Expectation()
    for rows in (1, 8, 16, 32, 4, 12, 24, 2):
        expectation.learn(rows, A_S + B_S * rows, ours=True)
    for _ in range(8):
        _look(expectation, TRANSPORT_S)
    return expectation


def _look(expectation: Expectation, transport_s: float) -> int:
    """A free call; how many calls may now come before the next look."""
    expectation.left(free=True)
    expectation.took_free(8, A_S + B_S * 8 + transport_s, alone=True, ours=True)
    return _calls_until_due(expectation)


def _calls_until_due(expectation: Expectation) -> int:
    calls = 0
    while not expectation.look_due:
        expectation.left(free=False)
        calls += 1
    return calls


def test_the_transport_is_looked_at_less_often_while_it_is_as_before() -> None:
    """Each look leaves the device idle: as long as they bring nothing new, one comes in 256 calls."""
    expectation = _known()
    assert [_look(expectation, TRANSPORT_S) for _ in range(2)] == [256, 256]


def test_the_transport_is_looked_at_soon_again_once_it_has_changed() -> None:
    """Half as many calls after each look that does not fit, 64 at least; many again once it is known."""
    expectation = _known()
    slower_s = TRANSPORT_S + 0.012
    assert [_look(expectation, slower_s) for _ in range(4)] == [128, 64, 64, 64]
    for _ in range(12):
        _look(expectation, slower_s)
    assert _look(expectation, slower_s) == 256
    assert abs((expectation.alone_s(8) or 0.0) - (A_S + B_S * 8 + slower_s)) < 0.001


def test_what_is_forgotten_is_looked_at_as_at_first() -> None:
    """Another server's transport is not known from this one's."""
    expectation = _known()
    expectation.forget()
    expectation.left(free=True)
    assert _calls_until_due(expectation) == _calls_until_due(Expectation()) == 64


def test_looks_are_no_more_frequent_where_each_one_says_something_else() -> None:
    """Answers that are odd for good tell nothing new however often they are asked for."""
    expectation = _known()
    apart = [_look(expectation, TRANSPORT_S + 0.02 * (number % 2)) for number in range(20)]
    assert min(apart) == 64
