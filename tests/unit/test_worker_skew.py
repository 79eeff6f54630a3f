"""Whose clock is behind: told by how long frames take at best, and only after a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.freshness import Freshness, parse_rules
from riverlens_worker.skew import TOLERATED_MS, Skews
from tests.live_frames import live
from tests.worker_parts import examples


def _run(skews: Skews, delays_ms: list[float], *, since_s: float = 0.0) -> list[bool]:
    """A frame of camera `a` a second, each after its delay."""
    return [skews.add("a", delay_ms, since_s + n) for n, delay_ms in enumerate(delays_ms)]


def test_a_skew_is_told_once_and_ends_with_the_first_frame_in_time() -> None:
    """Some seconds of frames that all come late tell it; with the clock set right it is forgotten."""
    skews = Skews()
    assert _run(skews, [5_100, 5_000, 5_200] * 3) == [False] * 5 + [True] + [False] * 3
    assert skews.of("a") == 5_000
    assert skews.of("b") == 0
    assert _run(skews, [40.0], since_s=9) == [False]
    assert skews.of("a") == 0


@examples()
@given(st.lists(st.floats(0, 20_000), min_size=1, max_size=60), st.integers(0, 7))
def test_a_camera_that_is_sometimes_in_time_is_never_skewed(delays_ms: list[float], every: int) -> None:
    """One frame in some seconds that came at once shows that the clock is right."""
    skews = Skews()
    timely = [0.0 if n % (every + 1) == 0 else delay_ms for n, delay_ms in enumerate(delays_ms)]
    assert not any(_run(skews, timely))
    assert skews.of("a") == 0


def test_a_clock_that_jumps_back_is_known_within_twenty_seconds() -> None:
    """Delays of long ago are forgotten: a camera that restarts without the time is not lost for good."""
    skews = Skews()
    _run(skews, [20.0] * 60)
    told = _run(skews, [3_600_000.0] * 20, since_s=60)
    assert told.count(True) == 1
    assert skews.of("a") == 3_600_000


def test_small_delays_belong_to_the_way() -> None:
    """Below a second nothing is taken off a frame's age."""
    skews = Skews()
    assert not any(_run(skews, [TOLERATED_MS - 1.0] * 30))
    assert skews.of("a") == 0


@pytest.mark.parametrize(("waited_s", "stale"), [(0.0, False), (0.9, False), (1.2, True)])
def test_the_age_of_a_skewed_cameras_frames_counts_from_kafka(waited_s: float, *, stale: bool) -> None:
    """A clock five seconds behind drops nothing by itself, and waiting counts as ever."""
    freshness = Freshness(parse_rules(["latest_only"]))
    frame = live("a", captured_s=-5.0, arrived_s=0.0)
    assert freshness.stale(frame, 0.0)
    told = [freshness.learn([live("a", captured_s=n - 5.0, arrived_s=float(n))]) for n in range(10)]
    assert sum(map(len, told)) == 1
    assert freshness.stale(frame, waited_s) == stale
    assert not freshness.stale(live("a", captured_s=1.0, arrived_s=1.0), 1.5), "its clock is right by now"


def test_cameras_that_come_and_go_do_not_grow_memory_for_ever() -> None:
    """Windows are kept for so many cameras at most."""
    skews = Skews()
    for number in range(25_000):
        skews.add(f"a{number}", 5_000, 0.0)
    assert len(skews._windows) <= 10_000  # what is bounded is not told anywhere
