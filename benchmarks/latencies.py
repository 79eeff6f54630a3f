"""Latency of groups of a run's frames, beside the oracle's for the same arrivals. Pure.

Latency is capture to event: the time at which the broker appended the event (the events topic has
`message.timestamp.type=LogAppendTime`, so it is one clock for every stack) less the frame's record
timestamp, which is when the feed sent it. Both are whole milliseconds, rounded down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Speeds
from benchmarks.observed import Numbers, Run, Seen, Sent, Window, within
from benchmarks.oracle import Ideal, pooled, split
from benchmarks.scenario import MAX_ROWS

BATCHES_TO_REFIT = 20
"""After a change of the device, latency counts again from so many batches on."""


def latencies(run: Run, window: Window) -> dict[str, Any]:
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
        for name, members in _groups(run, sent, window)
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


def _groups(run: Run, sent: Sent, window: Window) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    steady = within(sent.at_s, window)
    yield "all", steady
    if run.scenario.hot > 1 or run.scenario.backlog:
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
        found[f"p{percent}_ms"] = percentile(came, percent)
    for name, values in oracles.items():
        for percent in (50, 99):
            found[f"{name}_p{percent}_ms"] = percentile(values, percent)
    return found


def percentile(values: Numbers, percent: float) -> float | None:
    """That percentile; None of nothing."""
    return float(np.percentile(values, percent)) if len(values) else None
