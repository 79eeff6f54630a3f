"""When pictures are due."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_producer.pacing import MediaTime, RateLimit, Timetable

_TIMES = st.floats(0, 1e6, allow_nan=False)


def test_due_times_are_multiples_of_the_period_from_the_start() -> None:
    """The thousandth picture is due a thousand periods after the start: nothing adds up to a drift."""
    times = Timetable(start_s=50.0, period_s=0.1)
    assert times.due_s(1000, None) == pytest.approx(150.0)


def test_a_pictures_own_time_wins_over_the_period() -> None:
    """A video's frame is due at its time in the file, whatever its sequence."""
    assert Timetable(50.0, 1.0).due_s(7, 0.25) == 50.25


def test_without_a_period_everything_is_due_at_once() -> None:
    """`--fps 0` never waits, not even for a video's own times."""
    assert Timetable(50.0, None).due_s(7, 3.0) == 50.0


@pytest.mark.parametrize(
    ("live", "late_periods", "following"),
    [(True, 0.0, 6), (True, 0.9, 6), (True, 1.5, 6), (True, 2.5, 7), (True, 40.0, 45), (False, 40.0, 6)],
)
def test_a_live_camera_skips_what_it_missed_and_a_file_catches_up(
    live: bool,  # noqa: FBT001  # a parameter of the table
    late_periods: float,
    following: int,
) -> None:
    """After a stall a live camera shows what is due now, one picture; a file goes on where it was."""
    times = Timetable(start_s=10.0, period_s=0.125, live=live)
    assert times.after(5, 10.0 + 0.125 * (5 + late_periods)) == following


@given(start_s=_TIMES, period_s=st.floats(0.001, 10), sequence=st.integers(0, 10**6), stall_s=_TIMES)
def test_a_live_camera_never_bursts(start_s: float, period_s: float, sequence: int, stall_s: float) -> None:
    """However long the stall, the picture after the next one is not overdue."""
    times = Timetable(start_s, period_s, live=True)
    now_s = times.due_s(sequence, None) + stall_s
    following = times.after(sequence, now_s)
    assert following > sequence
    assert times.due_s(following + 1, None) >= now_s - 1e-6 * max(1.0, now_s)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=50), st.booleans())
def test_media_time_starts_at_zero_and_only_grows(
    stamps: list[float | None],
    trusted: bool,  # noqa: FBT001  # drawn
) -> None:
    """Whatever timestamps a file has, offsets grow, by at most 10 s a frame."""
    media = MediaTime(0.04, trusted=trusted)
    offsets = [media.offset_s(stamp) for stamp in stamps]
    assert offsets[:1] in ([], [0.0])
    assert all(0 < later - sooner <= 10.001 for sooner, later in itertools.pairwise(offsets))


def test_media_time_follows_uneven_timestamps() -> None:
    """A file with a varying rate keeps it."""
    media = MediaTime(0.04)
    assert [media.offset_s(stamp) for stamp in (5.0, 5.1, 5.5)] == pytest.approx([0.0, 0.1, 0.5])


def test_media_time_goes_on_in_the_next_loop() -> None:
    """The first frame of the second round comes one frame after the last of the first."""
    media = MediaTime(0.04)
    media.offset_s(0.0)
    media.offset_s(0.04)
    media.restart()
    assert media.offset_s(0.0) == pytest.approx(0.08)


def test_untrusted_timestamps_give_the_files_rate() -> None:
    """An AVI's decoding times (0.04, 0.16, 0.24, 0.2) are not followed."""
    media = MediaTime(0.04, trusted=False)
    offsets = [media.offset_s(stamp) for stamp in (0.04, 0.16, 0.24, 0.2)]
    assert offsets == pytest.approx([0.0, 0.04, 0.08, 0.12])


@given(fps=st.floats(0.5, 60), rate=st.floats(1, 120), seconds=st.integers(1, 20))
def test_a_rate_limit_leaves_at_most_that_rate(fps: float, rate: float, seconds: int) -> None:
    """Of any steady stream at most fps a second remain, and the stream's own rate if that is lower."""
    limit = RateLimit(fps)
    taken = sum(limit.takes(number / rate) for number in range(int(seconds * rate)))
    assert taken <= seconds * min(fps, rate) + 1
    assert taken >= int(seconds * min(fps, rate) * 0.5)


@pytest.mark.parametrize("fps", [None, 0])
def test_no_limit_takes_every_frame(fps: float | None) -> None:
    """Without a limit, or with 0, every frame is taken."""
    limit = RateLimit(fps)
    assert all(limit.takes(0.001 * number) for number in range(100))
