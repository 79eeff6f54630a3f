"""riverlens beside the comparison workers, figure by figure. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.checks import ENGINEER, ONE_BY_ONE, OURS, Row, Rows, figure, latency

LEVEL = 0.02
"""Figures that differ by less than this share are level: runs of one stack differ by as much."""

Standing = Literal["ahead", "level", "behind", "-"]


@dataclass(frozen=True, slots=True)
class Versus:
    """One figure of one scenario.

    Attributes:
        key: under which `reasons.toml` says why we are behind.
        most: whether less is better.
    """

    key: str
    scenario: str
    figure: str
    ours: float | None
    engineer: float | None
    one_by_one: float | None
    most: bool

    @property
    def standing(self) -> Standing:
        """Ours against the best of the others."""
        others = [value for value in (self.engineer, self.one_by_one) if value is not None]
        if self.ours is None or not others:
            return "-"
        best = min(others) if self.most else max(others)
        gain = best - self.ours if self.most else self.ours - best
        if abs(gain) <= LEVEL * abs(best):
            return "level"
        return "ahead" if gain > 0 else "behind"


_GROUPS = ("other partitions", "after", "all")
"""What counts in a scenario, the first that it has."""


def versus(rows: Sequence[Row]) -> list[Versus]:
    """Every figure of every scenario that ours and another worker ran, in the order of the scenarios."""
    found = Rows(rows)
    names = dict.fromkeys(row["scenario"] for row in rows)
    return [one for name in names for one in _scenario(found, name)]


def _scenario(found: Rows, name: str) -> Iterable[Versus]:
    stacks = {stack: found.find(stack, scenario=name) for stack in (OURS, ENGINEER, ONE_BY_ONE)}
    ours = stacks[OURS]
    if ours is None or (stacks[ENGINEER] is None and stacks[ONE_BY_ONE] is None):
        return

    def one(
        short: str, text: str, read: Callable[[Row | None], float | None], *, most: bool = True
    ) -> Versus:
        values = {stack: read(row) for stack, row in stacks.items()}
        return Versus(
            f"behind-{name}-{short}", name, text, values[OURS], values[ENGINEER], values[ONE_BY_ONE], most
        )

    if ours["kind"] == "start":
        yield one("start", "start to first Predict, s", lambda row: figure(row, "first_predict_s"))
        yield one("rss", "RSS MB, at the start", lambda row: figure(row, "rss_start_mb"))
        return
    if ours["kind"] == "paced":
        group = next(group for group in _GROUPS if group in ours["latency"])
        where = "" if group == "all" else f", {group}"
        yield one("p50", f"p50 ms{where}", lambda row: latency(row, "p50_ms", group))
        yield one("p99", f"p99 ms{where}", lambda row: latency(row, "p99_ms", group))
    if ours["kind"] == "saturation":
        yield one("frames", "frames/s", lambda row: figure(row, "frames_per_s"), most=False)
        yield one("rss", "RSS MB, peak", lambda row: figure(row, "rss_peak_mb"))
    yield one("cpu", "CPU ms/frame", lambda row: figure(row, "cpu_ms_per_frame"))
