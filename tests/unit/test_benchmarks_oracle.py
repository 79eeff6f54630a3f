"""The oracle, the scenarios and the figures of the benchmarks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cost import Cost, Speeds
from benchmarks.oracle import Ideal, Seconds, pooled, split
from benchmarks.scenario import Arrival, Scenario, arrivals, chosen, read_scenarios
from riverlens.errors import SettingsError

COST = Cost(20, 3)


def _ms(latencies_s: Seconds) -> list[float]:
    return [round(float(value) * 1000, 6) for value in latencies_s]


def test_one_frame_alone_pays_for_transport_and_service() -> None:
    """By hand: 2 ms there, 20 + 3 ms, 2 ms back."""
    assert _ms(pooled([0.0], Ideal(COST))) == [27.0]


def test_a_batch_leaves_so_that_it_arrives_as_the_device_becomes_free() -> None:
    """By hand: the first ends at 25 ms, so the next leaves at 23 ms with what came by then, and not later."""
    answered = pooled([0.0, 0.005, 0.022, 0.024], Ideal(COST))
    # 2 rows: 25 + 26 = 51 ms, 2 back; the frame of 24 ms leaves at 49: 51 + 23 = 74, 2 back.
    assert _ms(answered) == [27.0, 53.0, 53.0, 76.0]


def test_a_batch_holds_no_more_than_its_limit() -> None:
    """By hand: of three frames at once, with two in a batch, the third is answered a batch later."""
    answered = pooled([0.0, 0.0, 0.0], Ideal(COST, transport_s=0.0, max_rows=2))
    assert _ms(answered) == [26.0, 26.0, 49.0]


def test_devices_side_by_side_share_one_queue() -> None:
    """By hand: the second frame finds the second device free."""
    answered = pooled([0.0, 0.001], Ideal(COST, transport_s=0.0, devices=2))
    assert _ms(answered) == [23.0, 24.0]


def test_a_batch_takes_as_long_as_the_device_needs_when_it_begins() -> None:
    """By hand: from 1 s on three times as long."""
    ideal = Ideal(COST, transport_s=0.0, speeds=Speeds([(1.0, 3.0)]))
    assert _ms(pooled([0.0, 2.0], ideal)) == [23.0, 2069.0]


def test_queues_of_their_own_take_turns() -> None:
    """By hand: two workers' frames do not share a batch, the third frame waits for its worker's next turn."""
    answered = split([0.0, 0.001, 0.002], [0, 1, 0], Ideal(COST, transport_s=0.0))
    assert _ms(answered) == [23.0, 46.0, 69.0]


def test_one_queue_is_the_same_split_or_pooled() -> None:
    """With one worker both oracles are one."""
    times = np.array([arrival.at_s for arrival in arrivals(_paced(0.6))])
    ideal = Ideal(COST)
    assert np.allclose(pooled(times, ideal), split(times, [0] * len(times), ideal))


def _paced(load: float) -> Scenario:
    return Scenario("test", "paced", "slow", COST, load=load, seconds=60)


@pytest.mark.parametrize(("load", "p50", "p99"), [(0.3, 46, 67), (0.6, 64, 85), (0.9, 124, 170)])
def test_the_oracle_reaches_what_the_design_says(load: float, p50: float, p99: float) -> None:
    """16 cameras, a = 20 ms, b = 3 ms, t = 2 ms: the table of the design, within 5 %."""
    found = np.concatenate([_latencies(arrivals(_paced(load), seed), Ideal(COST)) for seed in range(4)])
    assert np.percentile(found, 50) == pytest.approx(p50, rel=0.05)
    assert np.percentile(found, 99) == pytest.approx(p99, rel=0.05)


def test_four_queues_that_take_turns_wait_twice_as_long() -> None:
    """At 60 % load 122 / 203 ms instead of 64 / 85, within 5 %."""
    plan = arrivals(_paced(0.6))
    times = np.array([arrival.at_s for arrival in plan])
    answered = split(times, [arrival.camera % 4 for arrival in plan], Ideal(COST))
    found = (answered - times)[500:] * 1000
    assert np.percentile(found, 50) == pytest.approx(122, rel=0.05)
    assert np.percentile(found, 99) == pytest.approx(203, rel=0.05)


def _latencies(plan: list[Arrival], ideal: Ideal) -> Seconds:
    times = np.array([arrival.at_s for arrival in plan])
    latencies: Seconds = (pooled(times, ideal) - times)[500:] * 1000
    return latencies


def test_paced_frames_come_at_the_rate_of_their_load() -> None:
    """Every camera its share, in order, the same for every stack; a hot one ten times as much."""
    plan = arrivals(_paced(0.6))
    assert len(plan) / 60 == pytest.approx(0.6 * 32 / 0.116, rel=0.02)
    assert plan == sorted(plan) == arrivals(_paced(0.6))
    hot = Scenario("test", "paced", "slow", COST, load=1.2, seconds=60, hot=10)
    counts = np.bincount([arrival.camera for arrival in arrivals(hot)])
    assert counts[0] / counts[1:].mean() == pytest.approx(10, rel=0.05)


def test_bursts_come_at_once_and_more_seldom() -> None:
    """Eight frames of a camera at one moment, the rate as without bursts."""
    plan = arrivals(Scenario("test", "paced", "slow", COST, seconds=60, shape="bursts"))
    assert len(plan) / 60 == pytest.approx(0.6 * 32 / 0.116, rel=0.05)
    assert plan[0].at_s == plan[7].at_s
    assert plan[0].camera == plan[7].camera


def test_the_scenarios_of_the_bench_can_be_read() -> None:
    """Names are unique, and lists multiply."""
    scenarios = read_scenarios()
    names = [scenario.name for scenario in scenarios]
    assert {"saturation-slow-jpeg", "paced-fast-90", "workers-paced-4w-merged", "smoke"} <= set(names)

    assert [scenario.name for scenario in chosen(scenarios, ["smo"])] == ["smoke"]


def test_a_scenario_that_is_not_there_is_named() -> None:
    """The error tells which names there are."""
    with pytest.raises(SettingsError, match="no scenario begins with 'nothing'; there are: saturation"):
        chosen(read_scenarios(), ["nothing"])
