"""Dispatch where the worker is not alone on one exclusive device, in simulated time, against the oracles."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from riverlens_worker.dispatch import DispatchClock
from riverlens_worker.overlap import Overlap, Pair
from tests.harness.dispatching import MOST_ROWS, Device, cameras, percentile
from tests.harness.sharing import Shared, oracles, workers_of

SLOW, FAST = Device(0.020, 0.003, 0.002), Device(0.003, 0.0004, 0.002)
SEEDS = (1, 2)


def ceiling(device: Device, devices: int = 1) -> float:
    """Frames a second in full batches."""
    return devices * MOST_ROWS / (device.a_s + MOST_ROWS * device.b_s)


def ratios(
    device: Device,
    load: float,
    *,
    workers: int = 1,
    devices: int = 1,
    merge: bool = False,
    begin: Callable[[DispatchClock], None] = lambda _: None,
    seconds: float = 46.4,
    between_s: tuple[float, float] = (23.2, 46.4),
    later_s: float = 0.0,
) -> list[tuple[float, float]]:
    """(p50, p99) as multiples of the oracle's, for each seed, of the frames that came `between_s`.

    `begin`: what each worker's clock wrongly takes for granted at the start.
    `later_s`: so much later than the one before it each worker gets its first frame.
    """
    found = []
    for seed in SEEDS:
        dice = random.Random(seed)  # noqa: S311  # the same loads in each run
        arrivals = cameras(ceiling(device, devices) * load, seconds, dice)
        dealt = [(at_s, number % workers) for number, at_s in enumerate(arrivals)]
        frames = [(at_s, worker) for at_s, worker in dealt if at_s >= later_s * worker]
        shared = Shared(device, frames, workers_of(workers), dice, devices=devices, merge=merge)
        for worker in shared.workers:
            begin(worker.load.clock)
        ours, best = shared.run(), oracles(shared)
        of = [number for number, (at_s, _) in enumerate(frames) if between_s[0] <= at_s < between_s[1]]
        mine, ideal = ([latencies[number] for number in of] for latencies in (ours, best))
        p50, p99 = (percentile(mine, q) / percentile(ideal, q) for q in (0.5, 0.99))
        found.append((p50, p99))
    return found


def saturated(workers: int, *, devices: int = 1, merge: bool = False) -> tuple[float, float]:
    """Share of the ceiling reached together, and the least share that a worker had of its own."""
    seconds, count = 40.0, 2 * int(40 * ceiling(SLOW, devices))
    shared = Shared(
        SLOW, [(0.0, number % workers) for number in range(count)], workers_of(workers),
        random.Random(7), devices=devices, merge=merge, until_s=seconds,  # noqa: S311  # each run the same
    )  # fmt: skip
    shared.run()
    rates = [
        sum(rows for at_s, rows in worker.answered if at_s > seconds / 4) / (0.75 * seconds)
        for worker in shared.workers
    ]
    return sum(rates) / ceiling(SLOW, devices), min(rates) * workers / sum(rates)


@pytest.mark.parametrize("load", [0.6, 0.9])
def test_workers_on_a_server_that_merges_are_as_good_as_one(load: float) -> None:
    """4 workers behind the server's own batching: p99 within 1.25 x the pooled oracle."""
    assert all(p99 <= 1.25 for _, p99 in ratios(SLOW, load, workers=4, merge=True))


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_on_a_server_that_does_not_merge_take_turns(workers: int) -> None:
    """Without the server's batching, at 60 %: p99 within 1.25 x ideal turns."""
    assert all(p99 <= 1.25 for _, p99 in ratios(SLOW, 0.6, workers=workers))


def test_workers_of_a_fast_server_do_not_forget_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that hardly wait because all hold back are no sign that nobody else is there."""
    forgotten: list[Overlap] = []
    ours_again = Overlap.ours_again

    def noted(overlap: Overlap) -> None:
        forgotten.append(overlap)
        ours_again(overlap)

    monkeypatch.setattr(Overlap, "ours_again", noted)
    ratios(FAST, 0.6, workers=2, seconds=12.0, between_s=(6.0, 12.0))
    assert len(forgotten) <= len(SEEDS)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_know_each_other_within_seconds(workers: int) -> None:
    """Without the server's batching, from the fifth second on: p99 within 1.25 x ideal turns."""
    assert all(p99 <= 1.25 for _, p99 in ratios(SLOW, 0.6, workers=workers, between_s=(5.0, 25.0)))


def test_workers_that_come_one_after_the_other_take_turns_too() -> None:
    """Those that came first hold back for the later ones, who must not take them for an idle server."""
    for p50, p99 in ratios(SLOW, 0.6, workers=4, seconds=60, between_s=(30.0, 60.0), later_s=5.0):
        assert p50 <= 1.4
        assert p99 <= 1.8


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("devices", [2, 4])
def test_parallel_devices_are_found_and_used(devices: int, load: float) -> None:
    """A server with several devices: p50 and p99 within 1.2 x the oracle that knows them."""
    for p50, p99 in ratios(SLOW, load, devices=devices):
        assert p50 <= 1.2
        assert p99 <= 1.2


def _thinks_it_merges(clock: DispatchClock) -> None:
    clock.window.merged = True
    clock.overlap.widen()


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_slot_too_many_is_taken_back(devices: int, load: float) -> None:
    """Whatever odd answers have made it: in the end p50 and p99 are as with the right number."""

    def one_more(clock: DispatchClock) -> None:
        clock.overlap.slots = devices + 1

    for p50, p99 in ratios(SLOW, load, devices=devices, begin=one_more):
        assert p50 <= 1.2
        assert p99 <= 1.2


@pytest.mark.parametrize("load", [0.3, 0.6])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_server_that_was_wrongly_thought_to_merge_is_found_out(devices: int, load: float) -> None:
    """Answers that a machine standing still read together are forgotten: p50 and p99 as without them."""
    for p50, p99 in ratios(SLOW, load, devices=devices, begin=_thinks_it_merges):
        assert p50 <= 1.2
        assert p99 <= 1.2


@pytest.mark.parametrize(("device", "load"), [(SLOW, 0.6), (FAST, 0.15), (FAST, 0.6)])
def test_who_was_wrongly_thought_to_share_a_server_has_it_to_itself_again(
    device: Device, load: float
) -> None:
    """Calls that never wait tell that nobody else's come between: p50 and p99 as without the mistake."""

    def shares(clock: DispatchClock) -> None:
        clock.overlap.shared = True

    for mistaken, plain in zip(ratios(device, load, begin=shares), ratios(device, load), strict=True):
        assert mistaken[0] <= 1.1 * plain[0]
        assert mistaken[1] <= 1.1 * plain[1]


@pytest.mark.parametrize("merge", [True, False])
def test_saturation_is_shared_fairly(merge: bool) -> None:  # noqa: FBT001  # a case
    """4 workers with more than enough to do: 95 % of the ceiling together, 80 % of its share each."""
    together, least = saturated(4, merge=merge)
    assert together >= 0.95
    assert least >= 0.80


@pytest.mark.parametrize("devices", [2, 4])
def test_saturation_keeps_parallel_devices_busy(devices: int) -> None:
    """One worker keeps several devices 96 % busy, and knows what they can do together."""
    together, _ = saturated(1, devices=devices)
    assert together >= 0.96


def told(gap_s: float, beside: int = 1, device_s: float = 0.04) -> Pair:
    """A pair whose second call should take `device_s`."""
    return Pair(gap_s, 0.0, device_s + gap_s, device_s, device_s + 0.002, beside)


def test_two_pairs_answered_at_once_are_a_slot_more_and_three_that_are_not_one_less() -> None:
    """Slots follow the pairs in both directions, one step at a time."""
    overlap = Overlap(8)
    assert [overlap.judge(told(0.0)) for _ in range(2)] == [False, True]
    assert overlap.slots == 2
    assert [overlap.judge(told(0.0, beside=2)) for _ in range(2)] == [False, True]
    assert overlap.slots == 3
    assert [overlap.judge(told(0.04, beside=2)) for _ in range(3)] == [False, False, True]
    assert overlap.slots == 2


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
    assert overlap.pair_due(suspect=False, told=2)
    assert not overlap.judge(told(0.04))
    assert [overlap.judge(told(0.07)) for _ in range(2)] == [False, True]
    assert overlap.shared


def test_workers_that_share_a_server_send_their_pairs_apart() -> None:
    """Each pair costs all of them a call's time; once their number tells the cost, they are seldom."""

    def calls_until_pair(overlap: Overlap, told_by: int) -> int:
        count = 0
        while not overlap.pair_due(suspect=True, told=told_by):
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
    overlap, sent = Overlap(8), 0
    for _ in range(4_000):
        pair = overlap.pair_due(suspect=False)
        overlap.left(pair=pair)
        if pair:
            sent += 1
            overlap.judge(told(0.04))
    assert 5 <= sent <= 12
    alone = Overlap(1)
    for _ in range(100):
        alone.left(pair=False)
    assert not alone.pair_due(suspect=True)
