"""Several workers on one device, and cameras that crowd out others. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.checks import OURS, Check, Rows, figure, latency, ratio, times

_WORKERS = 4
_ORACLES = 1.25


def several_workers(rows: Rows) -> Iterable[Check]:
    """Four of them, with the server's own batching in front of the device and without."""
    full = rows.find(OURS, kind="saturation", workers=_WORKERS, merge=True)
    share = figure(full, "of_ceiling_percent")
    least = min(full["shares"]) if full is not None and full["shares"] else None
    what = f"{_WORKERS} workers, batching server"
    yield Check("workers-ceiling", f"{what}: % of the ceiling together", share, 95, most=False)
    yield Check("workers-share", f"{what}: least worker's part of an even share", least, 0.8, most=False)
    merged, apart = (
        rows.find(OURS, kind="paced", workers=_WORKERS, merge=merge, load=0.6) for merge in (True, False)
    )
    pooled = ratio(latency(merged, "p99_ms"), latency(merged, "oracle_p99_ms"))
    yield Check("workers-merged-p99", f"{what}, 60 %: p99 in pooled oracles", pooled, _ORACLES)
    split = ratio(latency(apart, "p99_ms"), latency(apart, "split_oracle_p99_ms"))
    what = f"{_WORKERS} workers, plain server, 60 %: p99 in oracles of {_WORKERS} queues taking turns"
    yield Check("workers-split-p99", what, split, _ORACLES)


def fairness(rows: Rows) -> Iterable[Check]:
    """Other partitions' frames beside a camera at ten times the rate, and beside a backlog."""
    for scenario, beside in (
        ("hot-camera", "a camera at 10x"),
        ("backlog-camera", "a camera with a backlog"),
    ):
        row = rows.find(OURS, scenario=scenario)
        bound = times(figure(row, "full_batch_ms"), 2 * 1.05)
        what = f"p99 ms of other partitions beside {beside} (<= 2(a + 32b) + 5 %)"
        yield Check(scenario, what, latency(row, "p99_ms", "other partitions"), bound)
