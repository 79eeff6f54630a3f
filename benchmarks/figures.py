"""From what was seen in one run to its figures. Pure.

Latency is capture to event: the time at which the broker appended the event (the events topic has
`message.timestamp.type=LogAppendTime`, so it is one clock for every stack) less the frame's record
timestamp, which is when the feed sent it. Both are whole milliseconds, rounded down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Speeds
from benchmarks.observed import Numbers, Run, Seen, Sent, Usage
from benchmarks.oracle import Ideal, pooled, split
from benchmarks.scenario import MAX_ROWS

BATCHES_TO_REFIT = 20
"""After a change of the device, latency counts again from so many batches on."""
_STEADY_FROM, _STEADY_TO = 0.2, 0.95


Window = tuple[float, float]


def figures(run: Run) -> dict[str, Any]:
    """The figures of one run, in JSON's types; None where there is nothing to tell."""
    window = _window(run)
    rate = _rate(run.seen.appended_s, window)
    device = _device(run, window)
    frames = int(np.count_nonzero(_within(run.seen.appended_s, window)))
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
        "latency": _latencies(run),
        "feed_late_p99_ms": None if run.sent is None else _percentile(run.sent.late_s * 1000, 99),
    }


def _window(run: Run) -> Window:
    """The steady middle: seconds since the epoch."""
    if run.sent is not None and len(run.sent.at_s):
        return float(run.sent.at_s[0]) + run.scenario.warm_up_s, float(run.sent.at_s[-1])
    if not len(run.seen.appended_s):
        return run.ready_s, run.ready_s
    first, last = float(run.seen.appended_s[0]), float(run.seen.appended_s[-1])
    span = last - first
    return first + span * _STEADY_FROM, first + span * _STEADY_TO


def _within(times_s: Numbers, window: Window) -> NDArray[np.bool_]:
    return (times_s >= window[0]) & (times_s < window[1])


def _rate(appended_s: Numbers, window: Window) -> float | None:
    """Events a second: the slope of their count, which batches at the window's edges hardly move."""
    times = appended_s[_within(appended_s, window)]
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


def _latencies(run: Run) -> dict[str, Any]:
    """Percentiles by group of frames, each beside the oracle's for the same frames."""
    if run.sent is None:
        return {}
    sent, scenario = run.sent, run.scenario
    latency_ms = _measured_ms(sent, run.seen)
    ideal = Ideal(
        scenario.cost,
        max_rows=MAX_ROWS,
        devices=scenario.servers * scenario.devices,
        speeds=Speeds() if run.changed_s is None else Speeds([(run.changed_s, scenario.slow_factor)]),
    )
    oracles = {"oracle": (pooled(sent.at_s, ideal) - sent.at_s) * 1000}
    if scenario.workers > 1:
        queues = sent.partition * scenario.workers // scenario.partitions
        oracles["split_oracle"] = (split(sent.at_s, queues.tolist(), ideal) - sent.at_s) * 1000
    return {
        name: _group(latency_ms[members], {key: found[members] for key, found in oracles.items()})
        for name, members in _groups(run, sent)
    }


def _measured_ms(sent: Sent, seen: Seen) -> Numbers:
    """Latency of each frame sent, by its first event; NaN where it has none."""
    first: dict[tuple[int, int], float] = {}
    for partition, offset, at_s in zip(
        seen.partition.tolist(), seen.offset.tolist(), seen.appended_s.tolist(), strict=True
    ):
        first.setdefault((partition, offset), at_s)
    captured_ms = np.floor(sent.at_s * 1000)
    found = [
        round(first[place] * 1000) if place in first else np.nan
        for place in zip(sent.partition.tolist(), sent.offset.tolist(), strict=True)
    ]
    latency_ms: Numbers = np.array(found, dtype=np.float64) - captured_ms
    return latency_ms


def _groups(run: Run, sent: Sent) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    window = _window(run)
    steady = _within(sent.at_s, window)
    yield "all", steady
    if run.scenario.hot > 1:
        yield "other partitions", steady & (sent.partition != run.scenario.partition(0))
        yield "hot camera", steady & (sent.camera == 0)
    if run.changed_s is not None:
        yield "before", steady & (sent.at_s < run.changed_s)
        yield "after", steady & (sent.at_s >= _refitted_s(run, run.changed_s))


def _refitted_s(run: Run, changed_s: float) -> float:
    """The end of the twentieth batch after the devices became slower."""
    ends = sorted(batch[1] for server in run.device for batch in server["batches"] if batch[0] >= changed_s)
    return float(ends[min(BATCHES_TO_REFIT, len(ends)) - 1]) if ends else changed_s


def _group(latency_ms: Numbers, oracles: Mapping[str, Numbers]) -> dict[str, Any]:
    came = latency_ms[~np.isnan(latency_ms)]
    found: dict[str, Any] = {"frames": len(latency_ms), "answered": len(came)}
    for percent in (50, 90, 99, 100):
        found[f"p{percent}_ms"] = _percentile(came, percent)
    for name, values in oracles.items():
        for percent in (50, 99):
            found[f"{name}_p{percent}_ms"] = _percentile(values, percent)
    return found


def _percentile(values: Numbers, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None
