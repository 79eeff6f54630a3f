"""The wall's counts: rates, the timeline's bins, kept events, the workers' metrics."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from riverlens_wall.kept import KeptEvents
from riverlens_wall.rates import Meter
from riverlens_wall.readings import read
from riverlens_wall.timeline import BINS, MAX_CAMERAS, OTHERS, Timeline
from riverlens_wall.waiting import Place
from riverlens_worker.metrics import Lifecycle, Metrics, Stage

TIMES = st.lists(st.floats(0, 200), max_size=80).map(sorted)


@pytest.mark.parametrize(("fps", "seconds"), [(10, 30), (2, 30), (10, 3)])
def test_a_steady_camera_has_its_rate(fps: int, seconds: int) -> None:
    """The rate is that of whole seconds: right from the second second on, and steady."""
    meter = Meter(10)
    for number in range(fps * seconds):
        meter.add(100 + number / fps)
    assert meter.per_second(100.0 + seconds) == fps


def test_a_rate_falls_to_nothing_when_nothing_comes() -> None:
    """A silent camera has no frames a second after the window."""
    meter = Meter(10)
    meter.add(5.0)
    assert meter.per_second(5.5) == 0.0
    assert meter.per_second(6.5) == 1.0
    assert meter.per_second(17.0) == 0.0
    assert meter.mean(17.0) is None


@given(TIMES)
def test_a_meter_counts_what_lies_in_its_window(times: list[float]) -> None:
    """The total is the number of additions of the window; the rate never exceeds them."""
    meter = Meter(10)
    for at_s in times:
        meter.add(at_s)
    now_s = times[-1] if times else 0.0
    assert meter.total(now_s) == sum(int(at_s) >= int(now_s) - 10 for at_s in times)
    assert 0 <= meter.per_second(now_s) <= len(times)


def test_the_timeline_tells_the_mean_in_view_not_the_number_of_events() -> None:
    """One person before a camera at 10 frames/s is one person, and two cameras add up."""
    timeline = Timeline(100.0)
    for number in range(10):
        timeline.add("lobby", {"person": 1}, 50.0 + number / 20)
        timeline.add("yard", {"person": 2 * (number % 2)}, 50.0 + number / 20)
    (row,) = timeline.rows(50.9, 5)
    assert row.label == "person"
    assert row.in_view[-1] == 2.0
    assert sum(row.in_view) == 2.0
    assert len(row.in_view) == BINS


def test_the_timeline_moves_on_and_forgets() -> None:
    """A bin goes left with time, and is gone at the end of the span."""
    timeline = Timeline(100.0)
    timeline.add("lobby", {"car": 3}, 50.5)
    assert timeline.rows(60.0, 5)[0].in_view[-11] == 3.0
    assert timeline.rows(149.0, 5)[0].in_view[0] == 3.0
    assert timeline.rows(150.0, 5) == []


def test_rare_labels_are_one_row() -> None:
    """The labels most in view come first; what is beyond is summed up."""
    timeline = Timeline(100.0)
    timeline.add("lobby", {f"label-{number}": number for number in range(1, 9)}, 10.0)
    rows = timeline.rows(10.0, 3)
    assert [row.label for row in rows] == ["label-8", "label-7", "label-6", OTHERS]
    assert rows[-1].in_view[-1] == 15.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 90)), max_size=60))
def test_no_object_is_lost_between_rows(seen: list[tuple[str, str, float]]) -> None:
    """With one event a camera and bin, the rows' sums are the objects that were put in."""
    timeline = Timeline(100.0)
    events: dict[tuple[int, str], Counter[str]] = {}
    for camera, label, at_s in seen:
        events.setdefault((int(at_s), camera), Counter())[label] += 1
    for (second, camera), labels in sorted(events.items(), key=lambda item: item[0][0]):
        timeline.add(camera, labels, second + 0.5)
    rows = timeline.rows(90.0, 2)
    assert sum(sum(row.in_view) for row in rows) == pytest.approx(len(seen))


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=40)), max_size=50))
def test_kept_events_fit_their_bound(puts: list[tuple[int, bytes]]) -> None:
    """Bytes never exceed the bound, and the last event put in is found if it fits."""
    kept = KeptEvents(100)
    for offset, value in puts:
        kept.add(Place(0, offset), value)
        assert kept.nbytes <= 100
        assert kept.get(Place(0, offset)) == value


def test_a_new_camera_for_every_frame_fills_no_memory() -> None:
    """Where the frame's number is its key, each frame has its own camera: beyond a bound they are one."""
    timeline = Timeline(100.0)
    for number in range(3 * MAX_CAMERAS):
        timeline.add(f"frame-{number}", {"person": 1}, 50.0)
    (row,) = timeline.rows(50.0, 5)
    assert row.in_view[-1] == MAX_CAMERAS + 1


def test_the_workers_own_metrics_are_read() -> None:
    """What the worker declares is what the wall reads: names, labels, and two workers added up."""
    texts = []
    for number in (1, 2):
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        metrics.state.set(Lifecycle.RUNNING if number == 1 else Lifecycle.DRAINING)
        metrics.consumed.inc(100)
        metrics.lag_frames("0").set(3)
        metrics.lag_seconds("0").set(1.5 * number)
        metrics.load_ratio.set(0.4 * number)
        metrics.batch_rows.observe(8)
        metrics.stage[Stage.PREDICT].observe(0.25)
        metrics.frames("dropped", "stale").inc(7)
        metrics.frames("dropped", "unchanged").inc(5)
        metrics.endpoint_up("a:8500").set(number - 1)
        metrics.camera_drops("yard", "stale").inc(2)
        metrics.model_version.set(number)
        texts.append(generate_latest(registry).decode())
    reading = read(texts)
    assert reading.states == ["running", "draining"]
    assert (reading.consumed, reading.lag_frames, reading.lag_s, reading.load_ratio) == (200, 6, 3.0, 0.8)
    assert (reading.rows, reading.calls) == (16, 2)
    assert (reading.stage_s["predict"], reading.stage_frames["predict"]) == (0.5, 2)
    assert (reading.outcomes["dropped"], reading.unchanged) == (24, 10)
    assert reading.endpoints == {"a:8500": True}
    assert reading.camera_drops["yard"] == 4
    assert reading.model_version == 2


@pytest.mark.parametrize("text", ["", "up 1\n", "<html>not found</html>"])
def test_what_is_no_workers_page_is_refused(text: str) -> None:
    """A wrong address is told as such, not shown as a worker without figures."""
    with pytest.raises(ValueError, match=r"\S"):
        read([text])
