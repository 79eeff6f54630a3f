"""Dispatch where the worker is not alone on one exclusive device, in simulated time, against the oracles."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from riverlens_worker.dispatch import DispatchClock
from riverlens_worker.overlap import Overlap, Pair
from tests.harness.dispatching import MOST_ROWS, Device, cameras, percentile
from tests.harness.sharing import Shared, Worker, oracles

SLOW = Device(0.020, 0.003, 0.002)
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
) -> list[tuple[float, float]]:
    """(p50, p99) as multiples of the oracle's, for each seed, once half of the time has gone by.

    `begin`: what each worker's clock wrongly takes for granted at the start.
    """
    found = []
    for seed in SEEDS:
        dice = random.Random(seed)  # noqa: S311  # the same loads in each run
        seconds = 400 * (device.a_s + MOST_ROWS * device.b_s)
        arrivals = cameras(ceiling(device, devices) * load, seconds, dice)
        frames = [(at_s, number % workers) for number, at_s in enumerate(arrivals)]
        shared = Shared(
            device, frames, [Worker() for _ in range(workers)], dice, devices=devices, merge=merge
        )
        for worker in shared.workers:
            begin(worker.load.clock)
        ours, best = shared.run(), oracles(shared)
        half = len(frames) // 2
        p50, p99 = (percentile(ours[half:], q) / percentile(best[half:], q) for q in (0.5, 0.99))
        found.append((p50, p99))
    return found


def saturated(workers: int, *, devices: int = 1, merge: bool = False) -> tuple[float, float]:
    """Share of the ceiling reached together, and the least share that a worker had of its own."""
    seconds, count = 40.0, 2 * int(40 * ceiling(SLOW, devices))
    shared = Shared(
        SLOW, [(0.0, number % workers) for number in range(count)], [Worker() for _ in range(workers)],
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


@pytest.mark.parametrize(("workers", "most"), [(2, 1.35), (4, 1.25)])
def test_workers_on_a_server_that_does_not_merge_take_turns(workers: int, most: float) -> None:
    """Without the server's batching, at 60 %: p99 within 1.25 x ideal turns of 4 workers, 1.35 x of 2."""
    assert all(p99 <= most for _, p99 in ratios(SLOW, 0.6, workers=workers))


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
