"""How fast: the ceiling, latency beside the oracle's, a device that becomes slower. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.checks import HOPS, OURS, Check, Row, Rows, figure, latency, times

LEAST_CEILING_PERCENT = 98.0
ORACLES, PLUS_MS = 1.05, 3.0
"""A latency may be so many times the oracle's, and so many ms of Kafka's two hops."""
DEVICES, LOADS = ("slow", "fast"), (0.3, 0.6, 0.9)
REFIT_BATCHES = 20


def ceilings(rows: Rows) -> Iterable[Check]:
    """At saturation, batches of 32, passed through."""
    for device in DEVICES:
        share = figure(rows.saturation(OURS, device), "of_ceiling_percent")
        what = f"{device} device at saturation: % of its ceiling 32/(a + 32b)"
        yield Check(f"ceiling-{device}", what, share, LEAST_CEILING_PERCENT, most=False)


def latencies(rows: Rows) -> Iterable[Check]:
    """At 30, 60 and 90 % of the ceiling."""
    for device in DEVICES:
        for load in LOADS:
            name = f"latency-{device}-{load * 100:.0f}"
            yield from near_oracle(
                name, f"{device} device at {load * 100:.0f} %", rows.paced(OURS, device, load)
            )


def near_oracle(name: str, what: str, row: Row | None, group: str = "all") -> Iterable[Check]:
    """p50 and p99 of a group of frames against the oracle's of the same frames."""
    for percent in (50, 99):
        bound = times(latency(row, f"oracle_p{percent}_ms", group), ORACLES, PLUS_MS)
        text = f"{what}: p{percent} ms (<= {ORACLES:g} oracles + {PLUS_MS:g} ms)"
        yield Check(f"{name}-p{percent}", text, latency(row, f"p{percent}_ms", group), bound)


def with_hops(rows: Rows, device: str, load: float, percent: int) -> float | None:
    """What remains of the oracle on this machine: with the hops measured here in place of 3 ms."""
    hops = rows.paced(HOPS, device, load)
    hop_ms = latency(hops, f"p{percent}_ms")
    return None if hop_ms is None else times(latency(hops, f"oracle_p{percent}_ms"), ORACLES, hop_ms)


class HopsNote(NamedTuple):
    """How a latency stands against the oracle and the hops of this machine."""

    met: bool
    text: str


def hops_notes(rows: Rows) -> dict[str, HopsNote]:
    """By key of a latency target: how it would stand with the hops measured here in place of 3 ms."""
    found = {}
    for device in DEVICES:
        for load in LOADS:
            for percent in (50, 99):
                bound = with_hops(rows, device, load, percent)
                value = latency(rows.paced(OURS, device, load), f"p{percent}_ms")
                if bound is not None and value is not None:
                    met = value <= bound
                    key = f"latency-{device}-{load * 100:.0f}-p{percent}"
                    text = f"with the hops measured here {bound:.0f} ms: {'met' if met else 'missed too'}"
                    found[key] = HopsNote(met, text)
    return found


def slowed(rows: Rows) -> Iterable[Check]:
    """It becomes three times slower in mid-run."""
    for device in DEVICES:
        row = rows.find(OURS, scenario=f"slowed-{device}")
        name, what = f"slowed-{device}", f"{device} device, 3x slower from mid-run on"
        yield Check(
            f"{name}-refit", f"{what}: batches until re-fitted", figure(row, "refit_batches"), REFIT_BATCHES
        )
        yield from near_oracle(name, f"{what}, after {REFIT_BATCHES} batches", row, "after")
