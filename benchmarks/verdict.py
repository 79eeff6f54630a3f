"""Whether the comparison counts, and whether each target is met. Pure: from the figures of one run.

What others reach was measured before this benchmark existed. A run in which the comparison worker does
much better or worse than that measures something else, and its comparisons are void.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

OURS, ENGINEER, ONE_BY_ONE = "riverlens", "engineer", "one-by-one"
LEAST_CEILING_PERCENT = 98.0
P50_RATIO = (2.0, 2.3)
"""The engineer's p50 at 60 % load on the slow device, in oracles."""
DISTURBED_CORES = 0.25
"""Work of others beside a run, in cores, from which on its figures are not to be trusted."""


@dataclass(frozen=True, slots=True)
class Check:
    """One target: what, what was measured, and what it must not pass.

    Attributes:
        most: whether the bound is an upper one.
    """

    what: str
    value: float
    bound: float
    most: bool = True

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value <= self.bound if self.most else self.value >= self.bound


class Rows:
    """Figures, to be found by what they are of."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def find(self, stack: str, **wanted: Any) -> Row | None:
        """The first row of a stack with these figures; None where nobody measured it."""
        for row in self._rows:
            if row["stack"] == stack and all(row.get(key) == value for key, value in wanted.items()):
                return row
        return None

    def plain(self, stack: str, **wanted: Any) -> Row | None:
        """The same, of scenarios without anything special."""
        return self.find(stack, plain=True, **wanted)


def comparison(rows: Sequence[Row]) -> tuple[bool, list[str]]:
    """Whether the comparison worker reached what it must, and a line for each condition."""
    found = Rows(rows)
    lines, valid = [], True
    for device in ("slow", "fast"):
        row = found.plain(ENGINEER, kind="saturation", device=device, mode="jpeg")
        share = None if row is None else row["of_ceiling_percent"]
        met = share is not None and share >= LEAST_CEILING_PERCENT
        valid &= met
        told = "not measured" if share is None else f"{share:.1f} %"
        lines.append(f"ceiling of the {device} device >= {LEAST_CEILING_PERCENT:g} %: {told}")
    ratio = _p50_ratio(found.plain(ENGINEER, kind="paced", device="slow", mode="jpeg", load=0.6))
    low, high = P50_RATIO
    valid &= ratio is not None and low <= ratio <= high
    told = "not measured" if ratio is None else f"{ratio:.2f}"
    lines.append(f"p50 at 60 % load on the slow device, in oracles, {low} to {high}: {told}")
    return valid, lines


def _p50_ratio(row: Row | None) -> float | None:
    group = _latency(row)
    if group is None or not group["p50_ms"] or not group["oracle_p50_ms"]:
        return None
    return float(group["p50_ms"] / group["oracle_p50_ms"])


def _latency(row: Row | None, group: str = "all") -> Mapping[str, Any] | None:
    return None if row is None else row["latency"].get(group)


def disturbed(rows: Sequence[Row]) -> list[str]:
    """Runs beside which others worked, with how many cores."""
    return [
        f"{row['scenario']} / {row['stack']}: {row['foreign_cores']:.1f} cores"
        for row in rows
        if row["foreign_cores"] > DISTURBED_CORES
    ]


def targets(rows: Sequence[Row]) -> list[Check]:
    """Every target of which there are figures."""
    found = Rows(rows)
    parts: tuple[Callable[[Rows], Iterable[Check]], ...] = (
        _ceilings,
        _latencies,
        _against_others,
        _cpu,
        _several_workers,
        _special,
        _memory,
    )
    return [check for part in parts for check in part(found)]


def _ceilings(rows: Rows) -> Iterable[Check]:
    for device in ("slow", "fast"):
        row = rows.plain(OURS, kind="saturation", device=device, mode="jpeg")
        if row is not None:
            yield Check(
                f"{device} device at saturation, % of its ceiling", row["of_ceiling_percent"], 98, most=False
            )


def _latencies(rows: Rows) -> Iterable[Check]:
    for device in ("slow", "fast"):
        for load in (0.3, 0.6, 0.9):
            row = rows.plain(OURS, kind="paced", device=device, mode="jpeg", load=load)
            yield from _near_oracle(f"{device} device at {load:.0%}", _latency(row))


def _near_oracle(what: str, group: Mapping[str, Any] | None) -> Iterable[Check]:
    for percent in (50, 99):
        if group is not None and group[f"p{percent}_ms"] is not None:
            bound = 1.05 * group[f"oracle_p{percent}_ms"] + 3
            yield Check(f"{what}: p{percent} ms (1.05 oracles + 3 ms)", group[f"p{percent}_ms"], bound)


def _against_others(rows: Rows) -> Iterable[Check]:
    wanted: dict[str, Any] = {"kind": "paced", "device": "slow", "mode": "jpeg", "load": 0.6}
    ours, theirs = (_latency(rows.plain(stack, **wanted)) for stack in (OURS, ENGINEER))
    for percent in (50, 99):
        if ours and theirs and ours[f"p{percent}_ms"] is not None and theirs[f"p{percent}_ms"]:
            ratio = ours[f"p{percent}_ms"] / theirs[f"p{percent}_ms"]
            yield Check(f"p{percent} at 60 % on the slow device, of the engineer's", ratio, 0.55)
    for device in ("slow", "fast"):
        wanted = {"kind": "saturation", "device": device, "mode": "jpeg"}
        mine, single = (rows.plain(stack, **wanted) for stack in (OURS, ONE_BY_ONE))
        if mine and single and mine["frames_per_s"] and single["frames_per_s"]:
            ratio = mine["frames_per_s"] / single["frames_per_s"]
            yield Check(f"frames/s on the {device} device, of one image per call", ratio, 7, most=False)
    wanted = {"kind": "saturation", "device": "fast", "mode": "pixels"}
    mine, other = (rows.plain(stack, **wanted) for stack in (OURS, ENGINEER))
    if mine and other and mine["frames_per_s"] and other["frames_per_s"]:
        ratio = mine["frames_per_s"] / other["frames_per_s"]
        yield Check("frames/s decoded on the worker, fast device, of the engineer's", ratio, 1.5, most=False)


def _cpu(rows: Rows) -> Iterable[Check]:
    for mode, most in (("jpeg", 1.3), ("pixels", 0.6)):
        wanted = {"kind": "saturation", "device": "fast", "mode": mode}
        ours, theirs = (rows.plain(stack, **wanted) for stack in (OURS, ENGINEER))
        if ours and theirs and ours["cpu_ms_per_frame"] and theirs["cpu_ms_per_frame"]:
            ratio = ours["cpu_ms_per_frame"] / theirs["cpu_ms_per_frame"]
            yield Check(f"CPU per frame, {mode}, fast device, of the engineer's", ratio, most)
    full = rows.plain(OURS, kind="saturation", device="fast", mode="jpeg")
    if full and full["cpu_ms_per_frame"]:
        yield Check("CPU ms per frame passed through, at saturation", full["cpu_ms_per_frame"], 0.20)
    for device in ("slow", "fast"):
        row = rows.plain(OURS, kind="paced", device=device, mode="jpeg", load=0.6)
        if row and row["cpu_ms_per_frame"]:
            yield Check(f"CPU ms per frame at 60 %, {device} device", row["cpu_ms_per_frame"], 0.6)


def _several_workers(rows: Rows) -> Iterable[Check]:
    full = rows.find(OURS, kind="saturation", workers=4, merge=True)
    if full:
        yield Check(
            "4 workers, batching server: % of the ceiling", full["of_ceiling_percent"], 95, most=False
        )
        if full["shares"]:
            yield Check("4 workers, batching server: least share", min(full["shares"]), 0.8, most=False)
    for merge, oracle in ((True, "oracle"), (False, "split_oracle")):
        group = _latency(rows.find(OURS, kind="paced", workers=4, merge=merge))
        if group and group["p99_ms"] is not None:
            name = "batching server, of the pooled" if merge else "plain server, of the split"
            ratio = group["p99_ms"] / group[f"{oracle}_p99_ms"]
            yield Check(f"4 workers, {name} oracle's: p99", ratio, 1.25)


def _special(rows: Rows) -> Iterable[Check]:
    hot = rows.find(OURS, scenario="hot-camera")
    group = _latency(hot, "other partitions")
    if hot and group and group["p99_ms"] is not None:
        bound = 2 * hot["full_batch_ms"] * 1.05
        yield Check("p99 ms of other partitions beside a camera at 10x", group["p99_ms"], bound)
    for device in ("slow", "fast"):
        row = rows.find(OURS, scenario=f"slowed-{device}")
        yield from _near_oracle(
            f"{device} device, 20 batches after it became 3x slower", _latency(row, "after")
        )
        once = rows.find(OURS, scenario=f"exactly-once-{device}")
        least = rows.plain(OURS, kind="saturation", device=device, mode="jpeg")
        if once and least and once["frames_per_s"] and least["frames_per_s"]:
            ratio = once["frames_per_s"] / least["frames_per_s"]
            yield Check(f"exactly once, {device} device: frames/s of at-least-once", ratio, 0.9, most=False)


def _memory(rows: Rows) -> Iterable[Check]:
    full = rows.plain(OURS, kind="saturation", device="fast", mode="jpeg")
    if full:
        yield Check("RSS at the start, MB", full["rss_start_mb"], 100)
        yield Check("RSS at saturation, MB", full["rss_peak_mb"], 200)
    small, large = (rows.find(OURS, scenario=f"backlog-{frames}") for frames in (1000, 100000))
    if small and large:
        ratio = large["rss_peak_mb"] / full["rss_peak_mb"] if full else large["rss_peak_mb"] / 200
        yield Check("RSS under a backlog of 100,000 frames, of that at saturation", ratio, 1.05)
    soak = rows.find(OURS, scenario="soak")
    if soak and soak["rss_slope_percent_a_minute"] is not None:
        grown = soak["rss_slope_percent_a_minute"] * soak["window_s"] / 60
        yield Check("RSS growth over ten minutes at saturation, %", grown, 2)
