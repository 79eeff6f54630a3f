"""What it costs: CPU a frame, memory, the start, exactly-once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.checks import ENGINEER, OURS, Check, Rows, figure, ratio, times
from benchmarks.targets.speed import DEVICES

_SOAK = "soak"
_DECODED_PLUS_MS = 0.25


def at_load(rows: Rows) -> Iterable[Check]:
    """CPU at 60 % load."""
    for device in DEVICES:
        cpu_ms = figure(rows.paced(OURS, device), "cpu_ms_per_frame")
        yield Check(f"cpu-{device}-60", f"{device} device at 60 %: CPU ms a frame", cpu_ms, 0.6)


def passed_through(rows: Rows) -> Iterable[Check]:
    """CPU at saturation; ledger, order, metrics and dead letters are always on."""
    cpu_ms = figure(rows.saturation(OURS, "fast"), "cpu_ms_per_frame")
    yield Check("cpu-jpeg", "fast device at saturation, passed through: CPU ms a frame", cpu_ms, 0.20)


def decoded(rows: Rows) -> Iterable[Check]:
    """Decoded on the worker, fast device, at saturation."""
    ours, theirs = (rows.saturation(stack, "fast", "pixels") for stack in (OURS, ENGINEER))
    bound = times(figure(ours, "decode_cpu_ms"), 1, _DECODED_PLUS_MS)
    what = f"fast device at saturation, decoded: CPU ms a frame (<= decoding alone + {_DECODED_PLUS_MS} ms)"
    yield Check("cpu-pixels", what, figure(ours, "cpu_ms_per_frame"), bound)
    times_theirs = ratio(figure(ours, "frames_per_s"), figure(theirs, "frames_per_s"))
    what = "fast device at saturation, decoded: frames/s, times the engineer's"
    yield Check("decoded-rate", what, times_theirs, 1.5, most=False)


def start(rows: Rows) -> Iterable[Check]:
    """Median of several starts; memory before the first frame."""
    row = rows.find(OURS, kind="start")
    yield Check("start", "start to first Predict of a frame, s, median", figure(row, "first_predict_s"), 1.0)
    yield Check("rss-start", "RSS at the start, MB", figure(row, "rss_start_mb"), 100)


def memory(rows: Rows) -> Iterable[Check]:
    """At saturation, under a backlog, over ten minutes."""
    peak = figure(rows.saturation(OURS, "fast"), "rss_peak_mb")
    yield Check("rss-saturation", "RSS at saturation, fast device, MB, peak", peak, 200)
    small, soak = (rows.find(OURS, scenario=name) for name in ("backlog-1000", _SOAK))
    large = figure(soak, "rss_peak_mb")
    yield Check("rss-backlog", "RSS under a backlog of 100,000 frames and more, MB, peak", large, 200)
    times_small = ratio(large, figure(small, "rss_peak_mb"))
    yield Check("rss-backlogs", "the same, of that under a backlog of 1,000", times_small, 1.05)
    grown = times(figure(soak, "rss_slope_percent_a_minute"), (figure(soak, "window_s") or 0) / 60)
    yield Check("rss-growth", "RSS growth over ten minutes at saturation, %", grown, 2)


def exactly_once(rows: Rows) -> Iterable[Check]:
    """Against at-least-once at saturation, passed through."""
    for device in DEVICES:
        once = figure(rows.find(OURS, scenario=f"exactly-once-{device}"), "frames_per_s")
        share = ratio(once, figure(rows.saturation(OURS, device), "frames_per_s"))
        what = f"exactly once, {device} device: frames/s of at-least-once's"
        yield Check(f"exactly-once-{device}", what, share, 0.9, most=False)
