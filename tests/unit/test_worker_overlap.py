"""What pairs of calls tell of a server's slots, and of others that share it."""

from __future__ import annotations

from riverlens_worker.overlap import Overlap
from riverlens_worker.pair import Pair
from tests.harness.pairs import told


def test_two_pairs_answered_at_once_are_a_slot_more_and_three_that_are_not_one_less() -> None:
    """Slots follow the pairs in both directions, one step at a time."""
    overlap = Overlap(8)
    assert [overlap.judge(told(0.0)) for _ in range(2)] == [False, True]
    assert overlap.slots == 2
    assert [overlap.judge(told(0.0, beside=2)) for _ in range(2)] == [False, True]
    assert overlap.slots == 3
    assert [overlap.judge(told(0.04, beside=2)) for _ in range(3)] == [False, False, True]
    assert overlap.slots == 2


def _pairs_until_a_slot_more(pair: Pair) -> int:
    overlap, pairs = Overlap(8), 0
    while overlap.slots == 1:
        assert pairs < 100
        overlap.judge(pair)
        pairs += 1
    return pairs


def test_the_shorter_the_calls_the_more_pairs_must_be_answered_at_once() -> None:
    """Answers of calls of a few milliseconds come within one of each other by coincidence."""
    assert _pairs_until_a_slot_more(told(0.0, device_s=0.08)) == 2
    assert _pairs_until_a_slot_more(told(0.0, device_s=0.01)) == 3
    assert _pairs_until_a_slot_more(told(0.0, device_s=0.004)) == 5


def test_full_calls_that_wait_in_a_queue_ask_for_no_slot_more() -> None:
    """It would only take the other workers' part of the server."""

    def queued(*, full: bool) -> Pair:
        return Pair(0.0, 0.0, 0.1, 0.04, 0.09, 1, full=full)

    assert queued(full=False).unhindered
    assert not queued(full=True).unhindered


def test_after_a_slot_too_many_one_is_tried_again_when_the_calm_is_over_and_not_much_later() -> None:
    """Meanwhile pairs answered at once do not make the next ones ever rarer."""
    overlap = Overlap(8)
    assert [overlap.judge(told(0.0)) for _ in range(2)] == [False, True]
    overlap.delay_grew()
    assert overlap.slots == 1
    calls = 0
    while overlap.slots == 1:
        assert calls < 128 + 16
        pair = overlap.pair_due(error=0.0)
        overlap.left(pair=pair)
        calls += 1
        if pair:
            overlap.judge(told(0.0))
    assert calls >= 128


def test_pairs_that_tell_nothing_do_not_follow_each_other_for_ever() -> None:
    """In step with another device's calls none may tell anything, and each costs that device a call more."""
    overlap = Overlap(8)
    overlap.judge(told(0.0))
    sent = 0
    for _ in range(160):
        pair = overlap.pair_due(error=0.2)
        overlap.left(pair=pair)
        if pair:
            sent += 1
            overlap.told_nothing()
    assert sent <= 12


def test_every_other_pair_asks_whether_the_last_slot_is_one() -> None:
    """Once the slots were confirmed; and each next one after a pair that denied it."""
    overlap = Overlap(8)
    assert [overlap.judge(told(0.0)) for _ in range(2)] == [False, True]
    asked = []
    for _ in range(4):
        asked.append(overlap.below)
        overlap.left(pair=True)
        overlap.judge(told(0.04, beside=2))
    assert asked == [False, True, False, True]
    overlap.judge(told(0.04, beside=1))
    assert overlap.below
    overlap.left(pair=True)
    assert overlap.below
    alone = Overlap(8)
    alone.left(pair=True)
    alone.judge(told(0.04))
    assert not alone.below


def test_pairs_that_come_sooner_than_they_cost_show_others() -> None:
    """Answers far nearer than the cost, but not at once: other clients' calls were taken for the cost."""
    overlap = Overlap(8)
    assert [overlap.judge(told(0.04, device_s=0.16)) for _ in range(2)] == [False, True]
    assert overlap.shared
    assert overlap.slots == 1


def test_pairs_as_expected_beside_calls_that_are_not_show_others_too() -> None:
    """Who knows the true cost, and whose calls take longer all the same, shares the server."""
    unexpected = Pair(0.04, 0.0, 0.08, 0.04, 0.042, 1, unexpected=True)
    overlap = Overlap(8)
    assert [overlap.judge(unexpected) for _ in range(2)] == [False, True]
    assert overlap.shared
    calm = Overlap(8)
    assert not any(calm.judge(told(0.04)) for _ in range(8))
    assert not calm.shared


def _shared(spread: float) -> Overlap:
    overlap = Overlap(8, spread)
    for _ in range(2):
        overlap.judge(told(0.04, device_s=0.16))
    assert overlap.shared
    return overlap


def test_where_only_pairs_tell_the_cost_their_second_calls_differ() -> None:
    """Large, then small: a cost a row cannot be told of calls of one size."""
    overlap, firsts = _shared(0.5), []
    for _ in range(3):
        firsts.append(overlap.first_rows(8))
        overlap.judge(told(0.03))
    assert firsts == [2, 6, 2]
    assert Overlap(8).first_rows(7) == 4
    assert overlap.first_rows(1) == 1


def test_pairs_that_contradict_the_cost_make_it_be_learnt_anew() -> None:
    """Where only pairs tell it: two in a row, soon after each other; a single one may have been hindered."""
    overlap = _shared(0.5)
    overlap.judge(told(0.04))
    assert not overlap.judge(told(0.07))
    overlap.left(pair=False)
    overlap.left(pair=False)
    assert overlap.pair_due(error=0.0, told=2)
    assert not overlap.judge(told(0.04))
    assert [overlap.judge(told(0.07)) for _ in range(2)] == [False, True]
    assert overlap.shared


def test_workers_that_share_a_server_send_their_pairs_apart() -> None:
    """Each pair costs all of them a call's time; once their number tells the cost, they are seldom."""

    def calls_until_pair(overlap: Overlap, told_by: int) -> int:
        count = 0
        while not overlap.pair_due(error=0.2, told=told_by):
            overlap.left(pair=False)
            count += 1
        overlap.left(pair=True)
        overlap.judge(told(0.03))
        return count

    assert max(calls_until_pair(_shared(spread), 0) for spread in (0.0, 1.0)) <= 16
    spaced = []
    for spread in (0.0, 0.5, 1.0):
        overlap = _shared(spread)
        spaced.append([calls_until_pair(overlap, 2) for _ in range(3)])
    assert spaced == [[8, 24, 64], [8, 48, 128], [8, 72, 192]]


def test_the_surer_the_fewer_pairs() -> None:
    """While pairs confirm what is known, ever fewer are sent; a server of one call gets none at all."""
    assert 5 <= _pairs_of(Overlap(8), 4_000) <= 12
    alone = Overlap(1)
    for _ in range(100):
        alone.left(pair=False)
    assert not alone.pair_due(error=0.2)


def _pairs_of(overlap: Overlap, calls: int) -> int:
    """How many pairs so many calls hold, each as expected."""
    sent = 0
    for _ in range(calls):
        pair = overlap.pair_due(error=0.0)
        overlap.left(pair=pair)
        if pair:
            sent += 1
            overlap.judge(told(0.04))
    return sent


def test_what_was_confirmed_often_needs_few_pairs_after_an_odd_answer() -> None:
    """An answer too soon is looked into at once; where pairs were seldom before, they soon are again."""
    sure, unsure = Overlap(8), Overlap(8)
    _pairs_of(sure, 600)
    _pairs_of(unsure, 20)
    for overlap, pairs in ((sure, 1), (unsure, 4)):
        overlap.hurry()
        assert _pairs_of(overlap, 3) == 1
        assert _pairs_of(overlap, 120) == pairs - 1


def test_pairs_that_only_confirm_are_soon_few() -> None:
    """Three of them, each twice as far from the next; then they are rare."""
    overlap, calls = Overlap(8), 0
    apart: list[int] = []
    while len(apart) < 6:
        pair = overlap.pair_due(error=0.0)
        overlap.left(pair=pair)
        calls += 1
        if pair:
            apart.append(calls - 1)
            calls = 0
            overlap.judge(told(0.04))
    assert apart == [8, 16, 32, 512, 1024, 1024]


def _calls_until_believed(overlap: Overlap) -> int:
    """Single calls after a pair until an answer too soon sends another; that one shows nothing new."""
    calls = 0
    while not overlap.hurry():
        assert not overlap.pair_due(error=0.2)
        overlap.left(pair=False)
        calls += 1
    while not overlap.pair_due(error=0.0):
        overlap.left(pair=False)
    overlap.left(pair=True)
    overlap.judge(told(0.04))
    return calls


def test_the_more_odd_answers_were_explained_away_the_longer_the_next_ones_send_no_pair() -> None:
    """On a machine that is busy for good every answer may come too soon, by a cost that is wrong."""
    overlap = Overlap(8)
    _pairs_of(overlap, 600)
    assert [_calls_until_believed(overlap) for _ in range(5)] == [0, 16, 32, 64, 64]
    assert _pairs_of(overlap, 512 + 1) == 1
    assert _calls_until_believed(overlap) == 32
    # A slot more is another server: nothing learnt of the one before counts.
    assert [overlap.judge(told(0.0)) for _ in range(2)] == [False, True]
    assert overlap.hurry()


def test_answers_that_no_busy_machine_explains_send_a_pair_whatever_was_before() -> None:
    """Others on the server make answers far more odd than that."""
    overlap = Overlap(8)
    _pairs_of(overlap, 600)
    for _ in range(5):
        _calls_until_believed(overlap)
    for _ in range(16):
        assert not overlap.pair_due(error=0.6)
        overlap.left(pair=False)
    assert overlap.pair_due(error=0.6)
    assert not overlap.pair_due(error=0.2)


def test_a_bad_moment_of_the_machine_shows_no_others() -> None:
    """Where pairs have confirmed the cost, pairs sooner than that count when they come well apart."""
    overlap = Overlap(8)
    overlap.judge(told(0.04))
    for _ in range(4):
        assert not overlap.judge(told(0.04, device_s=0.16))
        overlap.left(pair=False)
    overlap.judge(told(0.04))
    for _ in range(24):
        overlap.left(pair=False)
    assert not overlap.judge(told(0.04, device_s=0.16))
    assert not overlap.shared
    for _ in range(24):
        overlap.left(pair=False)
    assert overlap.judge(told(0.04, device_s=0.16))
    assert overlap.shared


def test_whether_others_are_there_is_tried_again_ever_less_often() -> None:
    """Jitter may hide for good that the server is ours; each trial costs turns where others are there."""
    overlap, tries = _shared(0.5), []
    for number in range(1, 1024 + 2048 + 4096 + 1):
        if overlap.free_in_turn(calm=False):
            tries.append(number)
            assert not overlap.shared
            for _ in range(2):
                overlap.judge(told(0.04, device_s=0.16))
            assert overlap.shared
    assert tries == [1024, 1024 + 2048, 1024 + 2048 + 4096]
    overlap.ours_again()
    while not overlap.settled:
        overlap.judge(told(0.04))
    for _ in range(2):
        overlap.judge(told(0.04, device_s=0.16))
        for _ in range(24):
            overlap.left(pair=False)
    assert overlap.shared
    assert [overlap.queued_in_turn(explained=False) for _ in range(1024)].index(True) == 1023
