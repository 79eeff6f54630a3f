"""From what was seen in one run to its figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.latencies import latencies, percentile
from benchmarks.observed import Numbers, Run, Usage, Window, within
from benchmarks.scenario import MAX_ROWS

_STEADY_FROM, _STEADY_TO = 0.2, 0.95
_MOST_EDGE_S = 20.0
_EARLY_SHARE = 0.3
"""A call came too early if it waited at the device for more than this part of its service time."""
_IN_A_ROW = 6
_LOOKED_AT = 60


def figures(run: Run) -> dict[str, Any]:
    """The figures of one run, in JSON's types; None where there is nothing to tell."""
    window = _window(run)
    rate = _rate(run.seen.appended_s, window)
    device = _device(run, window)
    frames = int(np.count_nonzero(within(run.seen.appended_s, window)))
    return {
        "scenario": run.scenario.name,
        "stack": run.stack,
        "kind": run.scenario.kind,
        "device": run.scenario.device,
        "mode": run.scenario.mode,
        "load": run.scenario.load if run.scenario.kind == "paced" else None,
        "plain": run.scenario.plain,
        "workers": run.scenario.workers,
        "merge": run.scenario.merge,
        "full_batch_ms": run.scenario.cost.service_s(MAX_ROWS) * 1000,
        "ceiling_per_s": run.scenario.ceiling,
        "window_s": window[1] - window[0],
        "frames_per_s": rate,
        **device,
        **_cost(run, window, frames),
        **_account(run),
        "ready_after_s": run.ready_s - run.started_s,
        "rss_start_mb": run.rss_start_bytes / 1e6,
        "rss_peak_mb": run.rss_peak_bytes / 1e6,
        "rss_slope_percent_a_minute": _slope(run.usage, window),
        "shares": _shares(run.published),
        "latency": latencies(run, window),
        "stages_ms": dict(run.stages_ms),
        "refit_batches": _refit_batches(run),
        "decode_cpu_ms": run.decode_cpu_ms,
        "device_late_p99_ms": _device_late_ms(run),
        "feed_late_p99_ms": None if run.sent is None else percentile(run.sent.late_s * 1000, 99),
    }


def _window(run: Run) -> Window:
    """The steady middle: seconds since the epoch."""
    if run.sent is not None and len(run.sent.at_s):
        return float(run.sent.at_s[0]) + run.scenario.warm_up_s, float(run.sent.at_s[-1])
    if not len(run.seen.appended_s):
        return run.ready_s, run.ready_s
    first, last = float(run.seen.appended_s[0]), float(run.seen.appended_s[-1])
    span = last - first
    begin_s = min(span * _STEADY_FROM, _MOST_EDGE_S)
    return first + begin_s, last - min(span * (1 - _STEADY_TO), _MOST_EDGE_S)


def _rate(appended_s: Numbers, window: Window) -> float | None:
    """Events a second: the slope of their count, which batches at the window's edges hardly move."""
    times = appended_s[within(appended_s, window)]
    if len(times) < 2 or times[-1] == times[0]:  # noqa: PLR2004  # a slope needs two
        return None
    return float(np.polyfit(times - times[0], np.arange(len(times)), 1)[0])


def _device(run: Run, window: Window) -> dict[str, Any]:
    """What the devices did within the window; a batch across an edge counts by its part within."""
    span = max(window[1] - window[0], 1e-9)
    busy_s = rows = batches = 0.0
    for server in run.device:
        for begun_s, ended_s, count, *_ in server["batches"]:
            part = max(0.0, min(ended_s, window[1]) - max(begun_s, window[0])) / (ended_s - begun_s)
            busy_s += part * (ended_s - begun_s)
            rows += part * count
            batches += part
    devices = sum(server["devices"] for server in run.device) or 1
    return {
        "device_busy_percent": 100 * busy_s / span / devices,
        "of_ceiling_percent": 100 * rows / span / run.scenario.ceiling,
        "rows_a_batch": rows / batches if batches else None,
    }


def _cost(run: Run, window: Window, frames: int) -> dict[str, Any]:
    mine = _cpu_s(run.usage, window)
    rest = {name: _cpu_s(usage, window) for name, usage in run.others.items()}
    span = max(window[1] - window[0], 1e-9)
    machine = _interpolate(run.usage, window, "machine_cpu_s")
    return {
        "cpu_ms_per_frame": 1000 * mine / frames if frames else None,
        "cpu_cores": mine / span,
        "line_cores": {name: cpu_s / span for name, cpu_s in rest.items()},
        # What the machine did besides: other people's work makes figures worthless.
        "foreign_cores": max(0.0, (machine - mine - sum(rest.values())) / span),
    }


def _cpu_s(usage: Sequence[Usage], window: Window) -> float:
    return _interpolate(usage, window, "cpu_s")


def _interpolate(usage: Sequence[Usage], window: Window, field: str) -> float:
    if not usage:
        return 0.0
    times = [one.at_s for one in usage]
    values = [getattr(one, field) for one in usage]
    begin, end = np.interp(window, times, values)
    return float(end - begin)


def _slope(usage: Sequence[Usage], window: Window) -> float | None:
    """Growth of the memory within the window, percent of its mean a minute."""
    inside = [(one.at_s, one.rss_bytes) for one in usage if window[0] <= one.at_s < window[1]]
    if len(inside) < 3:  # noqa: PLR2004  # fewer say nothing
        return None
    times, sizes = np.array(inside, dtype=np.float64).T
    return float(np.polyfit(times - times[0], sizes, 1)[0] * 60 / sizes.mean() * 100)


def _account(run: Run) -> dict[str, Any]:
    places = set(zip(run.seen.partition.tolist(), run.seen.offset.tolist(), strict=True))
    return {
        "events": len(run.seen.partition),
        "expected": run.expected,
        "missing": max(0, run.expected - len(places)),
        "repeats": len(run.seen.partition) - len(places),
        "disorder": run.seen.disorder,
    }


def _shares(published: Sequence[float]) -> list[float]:
    """What each worker did, of an even share."""
    total = sum(published)
    return [count * len(published) / total for count in published] if total else []


def _device_late_ms(run: Run) -> float | None:
    """How late the simulator answered, p99: what no stack can help."""
    late_s = [late_s for server in run.device for late_s in server["late_s"]]
    return percentile(np.array(late_s, dtype=np.float64) * 1000, 99)


def _refit_batches(run: Run) -> int | None:
    """After the devices became slower: batches until calls came just in time again; if never, all.

    A worker that expects the quicker device sends its calls too early, and they wait there. Single calls wait
    also where somebody took the core, so calls are too early where most of several in a row are.
    """
    if run.changed_s is None:
        return None
    batches = sorted(batch for server in run.device for batch in server["batches"])
    since = [batch for batch in batches if batch[0] >= run.changed_s][:_LOOKED_AT]
    early = [batch[5] > _EARLY_SHARE * (batch[1] - batch[0]) for batch in since]
    refitted = 0
    for place in range(len(early)):
        some = early[place : place + _IN_A_ROW]
        if 2 * sum(some) >= len(some):
            refitted = place + max(number for number, one in enumerate(some, 1) if one)
    return refitted
