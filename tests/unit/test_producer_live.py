"""What is decided about live cameras: rates, waits, capture times, partitions, words."""

from __future__ import annotations

import asyncio
import random
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from riverlens.errors import SettingsError
from riverlens.frame_producer import ProducerStats
from riverlens_producer.camera_metrics import MAX_CAMERAS, CameraCollector
from riverlens_producer.capture import CaptureClock, reference_time_ms
from riverlens_producer.failures import Cause, of_status
from riverlens_producer.link import Intake, LinkStats, Newest, Shot
from riverlens_producer.pacing import LiveRate, RealTime
from riverlens_producer.placement import hashed, place
from riverlens_producer.reconnect import Notices, Reconnect
from riverlens_producer.summary import CameraCounts


@given(fps=st.floats(0.2, 60), jitter=st.lists(st.floats(-0.49, 0.49), min_size=2, max_size=200))
def test_a_stream_of_just_the_rate_keeps_every_frame(fps: float, jitter: list[float]) -> None:
    """However its frames jitter within half a period."""
    limit = LiveRate(fps)
    assert all(limit.takes((number + early) / fps) for number, early in enumerate(jitter))


@given(fps=st.floats(0.2, 60), gaps=st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_no_stream_exceeds_its_rate(fps: float, gaps: list[float]) -> None:
    """Over any stretch from the start at most fps a second remain, and two."""
    limit, time_s, taken = LiveRate(fps), 0.0, 0
    for gap in gaps:
        time_s += gap / fps
        taken += limit.takes(time_s)
    assert taken <= time_s * fps + 2


def test_a_clock_set_back_shuts_no_camera_out() -> None:
    """After a step back by an hour the next frame is taken."""
    limit = LiveRate(10)
    assert limit.takes(7200.0)
    assert limit.takes(3600.0)


def test_frames_ahead_of_their_time_wait_and_late_ones_do_not() -> None:
    """A segment's frames come in a bunch and are shown a period apart; a stall moves what follows."""
    pace = RealTime()
    assert [round(pace.wait_s(offset, 100.0), 3) for offset in (0.0, 0.04, 0.08)] == [0, 0.04, 0.08]
    assert pace.wait_s(0.12, 105.0) == 0
    assert round(pace.wait_s(0.16, 105.0), 3) == 0.04


@given(st.integers(1, 200), st.floats(0, 1))
def test_waits_grow_to_their_limit_and_differ(failures: int, chance: float) -> None:
    """Never beyond the limit, never nothing; a refused login is tried again after 30 to 60 s."""
    reconnect = Reconnect(3.0)
    for _ in range(failures - 1):
        reconnect.delay_s(Cause.ENDED, 0.0, random.random())  # noqa: S311  # no secret
    assert 0.1 < reconnect.delay_s(Cause.UNREACHABLE, 0.0, chance) <= 3.0
    assert 30 <= reconnect.delay_s(Cause.DENIED, 0.0, chance) <= 60


def test_a_steady_connection_begins_the_waits_anew() -> None:
    """A camera that worked for a while is tried again at once."""
    reconnect = Reconnect(3.0, failures=50)
    assert reconnect.delay_s(Cause.ENDED, 60.0, 1.0) == 0.25


def test_an_outage_is_a_line_a_minute() -> None:
    """Each new cause is told, the same one again after a minute, and its end if its begin was."""
    notices = Notices()
    assert not notices.recovered()
    told = [notices.says(Cause.ENDED, 0), notices.says(Cause.UNREACHABLE, 1)]
    told += [notices.says(Cause.UNREACHABLE, second) for second in (2, 60, 61, 62)]
    assert told == [True, True, False, False, True, False]
    assert notices.recovered()


def test_a_camera_that_comes_and_goes_fills_no_log() -> None:
    """Of an hour's outages, one every 3 s, one a minute is told, and its end."""
    notices, lines = Notices(), 0
    for second in range(0, 3600, 3):
        lines += notices.says(Cause.ENDED, second)
        lines += notices.recovered()
    assert lines == 2 * 60


def test_the_cameras_clock_counts_where_it_may_be_right() -> None:
    """Within 10 s and never after arrival; otherwise arrival counts, and how far off it is is kept."""
    clock = CaptureClock()
    assert clock.captured_at_ms(990_000, 1_000_000) == 990_000
    assert clock.used
    assert clock.captured_at_ms(1_000_500, 1_000_000) == 1_000_000
    assert clock.captured_at_ms(5_000, 1_000_000) == 1_000_000
    assert (clock.used, clock.off_ms) == (False, -995_000)
    assert CaptureClock(trusted=False).captured_at_ms(990_000, 1_000_000) == 1_000_000
    assert clock.captured_at_ms(None, 7) == 7


def test_ffmpegs_reference_time_is_microseconds() -> None:
    """An int64 and flags; nothing of it where it is short or unset."""
    assert reference_time_ms(struct.pack("=qi4x", 1_790_683_200_000_123, 24)) == 1_790_683_200_000
    assert reference_time_ms(struct.pack("=qi4x", 0, 24)) is None
    assert reference_time_ms(b"") is None


def test_kafkas_hash_of_a_key() -> None:
    """As the Java client: known values of murmur2 over 12 partitions."""
    assert [hashed(name, 1 << 31) for name in ("21", "foobar")] == [
        -973932308 & 0x7FFFFFFF,
        -790332482 & 0x7FFFFFFF,
    ]


@given(
    cameras=st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=20, unique=True),
    partitions=st.integers(1, 12),
    pin=st.integers(0, 11),
)
def test_a_pinned_partition_is_kept_free(cameras: list[str], partitions: int, pin: int) -> None:
    """The pinned camera has it; others have that of their key, unless it is this one and there is another."""
    pin %= partitions
    places = place(cameras, {cameras[0]: pin}, partitions)
    assert places[cameras[0]] == pin
    for name in cameras[1:]:
        there = places[name] if places[name] is not None else hashed(name, partitions)
        assert there != pin or partitions == 1
        assert places[name] is None or hashed(name, partitions) == pin


def test_a_pin_beyond_the_topic_is_refused() -> None:
    """With the range there is."""
    with pytest.raises(SettingsError, match="camera 'a': partition 12: the topic has 12, 0 to 11"):
        place(["a"], {"a": 12}, 12)


@pytest.mark.parametrize(
    ("status", "cause"),
    [(401, Cause.DENIED), (403, Cause.DENIED), (404, Cause.MISSING), (503, Cause.UNREACHABLE)],
)
def test_a_status_has_its_cause_and_remedy(status: int, cause: Cause) -> None:
    """Each failure is one line with what to do."""
    error = of_status(status)
    assert error.cause is cause
    assert str(status) in str(error)
    assert "; " in str(error)


async def test_the_newest_few_frames_are_kept() -> None:
    """Of ten that nobody took the last four come, in order, with the number of those given up."""
    newest = Newest(asyncio.get_running_loop())
    intake = Intake(newest, LinkStats(), None, 5.0)
    with ThreadPoolExecutor(1) as camera:
        for number in range(10):
            camera.submit(intake.put, Shot(lambda: b"", "image/jpeg", number))
    found = [await newest.take() for _ in range(4)]
    assert [shot.captured_at_ms for shot, _ in found] == [6, 7, 8, 9]
    assert [missed for _, missed in found] == [6, 0, 0, 0]


async def test_a_closed_connection_gives_no_more_frames() -> None:
    """A thread that ends late cannot mix its frames with those of the next connection."""
    newest, stats = Newest(asyncio.get_running_loop()), LinkStats()
    old, new = Intake(newest, stats, None, 5.0), Intake(newest, stats, None, 5.0)
    old.close()
    assert not old.takes(0.0)
    old.put(Shot(lambda: b"", "image/jpeg", 1))
    assert new.takes(0.0)
    new.put(Shot(lambda: b"", "image/jpeg", 2))
    assert (await newest.take())[0].captured_at_ms == 2
    assert stats.received == 1


async def test_whoever_waits_learns_that_nothing_comes() -> None:
    """A camera whose task ended by a defect does not wait for ever."""

    async def defect() -> None:
        raise RuntimeError("defect")

    newest = Newest(asyncio.get_running_loop())
    asyncio.create_task(defect()).add_done_callback(newest.end)
    with pytest.raises(RuntimeError, match="defect"):
        await newest.take()


def test_metrics_show_each_camera_and_bound_their_number() -> None:
    """The first 200 by name, the counters of the rest as `other`; drops by reason, age and state."""
    names = [f"c{number}" for number in range(MAX_CAMERAS + 3)]
    counts = {name: CameraCounts(acknowledged=2, dropped=1) for name in names}
    stats = {name: LinkStats(received=3, broken=1, up=True, captured_at_ms=1) for name in names}
    stats["c1"].reconnects[Cause.STALLED] = 5
    registry = CollectorRegistry()
    registry.register(CameraCollector(counts, stats, lambda: ProducerStats(pending=4, pending_bytes=5)))
    text = generate_latest(registry).decode()
    assert 'riverlens_producer_frames_total{camera="c0"} 2.0' in text
    assert 'riverlens_producer_frames_total{camera="other"} 6.0' in text
    assert 'riverlens_producer_drops_total{camera="c0",reason="kafka_slow"} 1.0' in text
    assert 'riverlens_producer_drops_total{camera="c0",reason="broken"} 1.0' in text
    assert 'riverlens_producer_reconnects_total{camera="c1",reason="stalled"} 5.0' in text
    assert 'riverlens_producer_camera_up{camera="c0"} 1.0' in text
    assert "riverlens_producer_buffered_frames 4.0" in text
    assert 'camera="c201"' not in text
    assert 'camera_up{camera="other"}' not in text
