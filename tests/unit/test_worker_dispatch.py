"""Just-in-time dispatch against the oracle, in simulated time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.backoff import Backoff
from riverlens_worker.dispatch import DispatchClock
from riverlens_worker.endpoint_load import EndpointLoad
from riverlens_worker.expectation import Call
from tests.harness.dispatching import (
    MOST_ROWS,
    Device,
    Server,
    cameras,
    dispatched,
    dispatched_among,
    oracle,
    percentile,
)
from tests.worker_parts import examples

SLOW = Device(0.020, 0.003, 0.002)
FAST = Device(0.003, 0.0004, 0.001)
WARM_UP_SHARE = 3


def ceiling(device: Device) -> float:
    """Frames a second in full batches."""
    return MOST_ROWS / (device.a_s + MOST_ROWS * device.b_s)


def compared(
    device: Device, load: float, cycles: int, seed: int, count: int = 16
) -> list[tuple[float, float]]:
    """(ours, oracle's) latency at p50 and p99, once the clock has seen a few answers."""
    dice = random.Random(seed)  # noqa: S311  # the same loads in each run
    seconds = cycles * (device.a_s + MOST_ROWS * device.b_s)
    arrivals = cameras(ceiling(device) * load, seconds, dice, count)
    best = oracle(arrivals, device, dice)
    ours = dispatched(arrivals, device, dice)
    first = len(best) // WARM_UP_SHARE
    return [(percentile(ours[first:], q), percentile(best[first:], q)) for q in (0.5, 0.99)]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("device", [SLOW, FAST], ids=["slow", "fast"])
def test_latency_is_the_oracles(device: Device, load: float) -> None:
    """At 30, 60 and 90 % of the ceiling, p50 and p99 are within 1.05 x the oracle + 1 ms."""
    for ours_s, oracle_s in compared(device, load, cycles=250, seed=1):
        assert ours_s <= 1.05 * oracle_s + 0.001


@pytest.mark.parametrize(("load", "apart_s"), [(0.05, 0.003), (0.05, 0.0045), (0.3, 0.0045)])
def test_calls_that_wait_for_frames_tell_no_lead(load: float, apart_s: float) -> None:
    """Frames that come together, a fetch at a time, make no call leave ever sooner: a few ms are the lead."""
    dice = random.Random(1)  # noqa: S311  # the same load in each run
    arrivals = [apart_s * (at_s // apart_s + 1) for at_s in cameras(load * ceiling(FAST), 20.0, dice)]
    server = Server(FAST, EndpointLoad(2))
    dispatched_among(arrivals, [server], dice)
    assert server.load.clock.lead.seconds < FAST.a_s


@examples(40)
@given(
    st.floats(0.002, 0.060),
    st.floats(0.0002, 0.004),
    st.floats(0.02, 0.25),
    st.floats(0.05, 0.9),
    st.sampled_from([4, 16, 50]),
    st.integers(0, 1000),
)
def test_any_device_at_any_load(  # noqa: PLR0917  # a device, a load and a seed
    a_s: float, b_s: float, transport_share: float, load: float, count: int, seed: int
) -> None:
    """Whatever the device costs and the load: within 1.25 x the oracle + 6 ms, learnt within the run.

    The transport takes a quarter of a call's fixed cost at most: far beyond, two calls do not keep it busy.
    """
    device = Device(a_s, b_s, transport_share * a_s)
    cycles = max(200, round(60 / load))
    for ours_s, oracle_s in compared(device, load, cycles, seed, count):
        assert ours_s <= 1.25 * oracle_s + 0.006


@pytest.mark.parametrize("load", [0.25, 0.9])
@pytest.mark.parametrize("times", [3.0, 1 / 3])
def test_a_changed_device_is_fitted_again(load: float, times: float) -> None:
    """Three times slower or faster in mid-run: within 20 answers a full batch's cost is right to 10 %."""
    clock, calls = DispatchClock(), 0

    def answer(rows: int, cost: float, now_s: float) -> float:
        """One overlapping call after another, as under load."""
        nonlocal calls
        call = Call(rows, now_s - 0.002)
        other = Call(rows, now_s - 0.1)
        clock.started(call, [other], full=rows == MOST_ROWS)
        clock.answered(call, now_s + cost)
        calls += 1
        return now_s + cost

    dice = random.Random(3)  # noqa: S311  # the same rows in each run
    now_s = 0.0
    for _ in range(100):
        rows = max(1, min(MOST_ROWS, round(MOST_ROWS * load * dice.uniform(0.6, 1.4))))
        now_s = answer(rows, SLOW.a_s + SLOW.b_s * rows, now_s)
    assert clock.fit.seconds(MOST_ROWS) == pytest.approx(0.116, rel=0.05)
    calls = 0
    while clock.fit.seconds(MOST_ROWS) != pytest.approx(times * 0.116, rel=0.10):
        rows = max(1, min(MOST_ROWS, round(MOST_ROWS * load * dice.uniform(0.6, 1.4))))
        now_s = answer(rows, times * (SLOW.a_s + SLOW.b_s * rows), now_s)
        assert calls <= 20


@pytest.mark.parametrize("device", [SLOW, FAST], ids=["slow", "fast"])
@pytest.mark.parametrize("seed", range(3))
def test_calls_come_just_in_time_again_soon_after_the_device_has_changed(device: Device, seed: int) -> None:
    """Three times slower in mid-run: from the twentieth batch on as near to the oracle as before."""
    dice = random.Random(seed)  # noqa: S311  # the same loads in each run
    full_s = device.a_s + MOST_ROWS * device.b_s
    changed_s = 100 * full_s
    slowed = replace(device, slower=lambda at_s: 3.0 if at_s > changed_s else 1.0)
    arrivals = cameras(0.25 * ceiling(device), 250 * full_s, dice)
    best, ours = oracle(arrivals, slowed, dice), dispatched(arrivals, slowed, dice)
    first = sum(at_s < changed_s + 20 * full_s for at_s in arrivals)
    for share in (0.5, 0.99):
        bound_s = 1.05 * percentile(best[first:], share) + 0.003
        assert percentile(ours[first:], share) <= bound_s


def test_a_device_that_others_use_is_not_waited_for() -> None:
    """Answers that come at any time make calls leave at once; once they come as expected, they wait again."""
    clock, dice = DispatchClock(), random.Random(4)  # noqa: S311  # the same answers in each run
    now_s = 0.0

    def run(spread: float) -> None:
        nonlocal now_s
        for _ in range(60):
            call = Call(8, now_s)
            clock.started(call, [], full=False)
            now_s += 0.044 * dice.uniform(1, 1 + spread)
            clock.answered(call, now_s)

    run(0.0)
    under_way = [Call(8, now_s)]
    assert not clock.eager
    assert clock.due_s(under_way, full=False) > now_s
    run(6.0)
    assert clock.eager
    assert clock.due_s([Call(8, now_s)], full=False) == float("-inf")
    run(0.0)
    assert not clock.eager


def test_one_slow_answer_changes_nothing() -> None:
    """A single call that took ten times its time leaves the expectation where it was."""
    clock = DispatchClock()
    for rows in [4, 8, 16, 4, 8, 16, 4, 8, 16, 4, 8, 16]:
        clock.fit.add(rows, 0.020 + 0.003 * rows)
    clock.fit.add(8, 0.44)
    assert clock.fit.seconds(MOST_ROWS) == pytest.approx(0.116, rel=0.02)


TEN_TIMES = Device(0.200, 0.030, 0.002)


def among(devices: list[Device], load: float) -> tuple[list[float], list[float], list[Server]]:
    """Our latencies, the oracle's with the first device alone, and the servers; `load` of the first."""
    dice = random.Random(5)  # noqa: S311  # the same load in each run
    rate = ceiling(devices[0]) * load
    arrivals = cameras(rate, 5_000 / rate, dice)
    servers = [Server(device, EndpointLoad(2)) for device in devices]
    ours = dispatched_among(arrivals, servers, dice)
    best = oracle(arrivals, devices[0], dice)
    first = len(ours) // WARM_UP_SHARE
    return ours[first:], best[first:], servers


@pytest.mark.parametrize("load", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("devices", [(SLOW, TEN_TIMES), (FAST, SLOW)], ids=["ten times", "fast and slow"])
def test_a_far_slower_server_does_not_delay(devices: tuple[Device, Device], load: float) -> None:
    """Beside a far slower server p50 and p95 stay within 1.1 x the quick one's oracle + 3 ms."""
    ours, best, (_, slower) = among(list(devices), load)
    for share in (0.5, 0.95):
        assert percentile(ours, share) <= 1.1 * percentile(best, share) + 0.003
    assert slower.rows > 0


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_equal_servers_share(load: float) -> None:
    """Of two equal servers each gets a third or more, and p95 is below what one alone could reach."""
    ours, best, servers = among([SLOW, SLOW], load)
    assert percentile(ours, 0.95) < percentile(best, 0.95)
    assert min(server.rows for server in servers) >= 0.33 * sum(server.rows for server in servers)


@pytest.mark.parametrize(("second", "share"), [(SLOW, 0.99), (TEN_TIMES, 0.93)])
def test_saturation_keeps_all_servers_busy(second: Device, share: float) -> None:
    """With more frames than both can take, they reach their ceilings' sum, but for the last slow batch."""
    servers = [Server(device, EndpointLoad(2)) for device in (SLOW, second)]
    frames = 8_000
    latencies = dispatched_among([0.0] * frames, servers, random.Random(6))  # noqa: S311  # each run the same
    assert frames / max(latencies) >= share * (ceiling(SLOW) + ceiling(second))


def test_a_refused_call_teaches_nothing_of_its_neighbour() -> None:
    """A call refused at once beside one under way moves neither the cost nor when the device is free."""
    load, now_s = EndpointLoad(2), 0.0

    def passes(refused: int) -> None:
        nonlocal now_s
        for _ in range(40):
            call = load.start(8, now_s)
            for n in range(refused):
                expected_s = load.clock.free_s(load.calls)
                other = load.start(8, now_s + 0.01 * (n + 1))
                load.failed(other, now_s + 0.01 * (n + 1) + 0.002)
                load.end(other)
                assert load.clock.free_s(load.calls) == expected_s
            now_s += 0.046
            load.passed(call, now_s)
            load.end(call)

    passes(0)
    assert load.seconds(8) == pytest.approx(0.044, rel=0.05)
    passes(2)
    assert load.seconds(8) == pytest.approx(0.044, rel=0.05)


def test_a_call_that_was_never_asked_has_no_place_in_the_line() -> None:
    """Its frames were given up at the last moment: the next answer lets the call behind it begin."""
    load = EndpointLoad(4)
    first = load.start(8, 0.0)
    never = load.start(8, 0.01)
    load.end(never)
    behind = load.start(8, 0.02)
    load.passed(first, 0.046)
    load.end(first)
    assert never.begun_s is None
    assert behind.begun_s == pytest.approx(0.046)


def test_a_server_that_bears_one_call_is_seldom_asked_for_two() -> None:
    """Refused at two calls, it gets a second one only after a round of 16 that passed."""
    load, now_s, refused = EndpointLoad(2), 0.0, 0
    for _ in range(400):
        now_s += 3.0
        first = load.start(1, now_s)
        if load.has_room(now_s):
            second = load.start(1, now_s)
            load.failed(second, now_s)
            load.end(second)
            load.overloaded(second, now_s, Backoff(), 0.5)
            refused += 1
        load.passed(first, now_s + 1.0)
        load.end(first)
    assert 5 <= refused <= 400 / 16 + 1


def test_a_server_that_is_back_is_learnt_anew() -> None:
    """What comes back may be another device: no cost is known, and calls that hung teach none."""
    load = EndpointLoad(2)
    for n in range(6):
        call = load.start(4, n * 1.0)
        load.passed(call, n + 0.03)
        load.end(call)
    hung = load.start(4, 7.0)
    assert load.seconds(4) is not None
    load.gone(12.0)
    load.passed(hung, 40.0)
    load.end(hung)
    assert load.seconds(4) is None
    assert load.due_s(full=False) == float("-inf")
