"""Against the comparison workers of the same run. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.checks import ENGINEER, ONE_BY_ONE, OURS, Check, Rows, figure, latency, ratio
from benchmarks.targets.speed import DEVICES

_ENGINEERS_P = 0.55
_SINGLES = 7


def latencies(rows: Rows) -> Iterable[Check]:
    """p50 and p99 at 60 % load."""
    for device in DEVICES:
        ours, theirs = (rows.paced(stack, device) for stack in (OURS, ENGINEER))
        for percent in (50, 99):
            part = ratio(latency(ours, f"p{percent}_ms"), latency(theirs, f"p{percent}_ms"))
            what = f"{device} device at 60 %: p{percent} of the engineer's"
            yield Check(f"others-{device}-60-p{percent}", what, part, _ENGINEERS_P)


def cost_per_frame(rows: Rows) -> Iterable[Check]:
    """CPU at saturation on the fast device, where there is most to do."""
    for mode, name, most in (("jpeg", "passed through", 1.3), ("pixels", "decoded", 0.6)):
        ours, theirs = (rows.saturation(stack, "fast", mode) for stack in (OURS, ENGINEER))
        part = ratio(figure(ours, "cpu_ms_per_frame"), figure(theirs, "cpu_ms_per_frame"))
        what = f"fast device at saturation, {name}: CPU a frame of the engineer's"
        yield Check(f"others-cpu-{mode}", what, part, most)


def throughput(rows: Rows) -> Iterable[Check]:
    """Against one image in each call."""
    for device in DEVICES:
        ours, single = (rows.saturation(stack, device) for stack in (OURS, ONE_BY_ONE))
        part = ratio(figure(ours, "frames_per_s"), figure(single, "frames_per_s"))
        what = f"{device} device at saturation: frames/s, times one image a call"
        yield Check(f"others-rate-{device}", what, part, _SINGLES, most=False)
