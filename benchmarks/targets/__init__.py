"""Every target of the contract, one function for each line of it, in its order. Pure.

A target of which there are no figures is told as not measured, so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks.checks import Check, Row, Rows
from benchmarks.targets import cost, others, sharing, speed

PARTS: tuple[Callable[[Rows], Iterable[Check]], ...] = (
    speed.ceilings,
    speed.latencies,
    cost.at_load,
    cost.passed_through,
    cost.decoded,
    cost.start,
    cost.memory,
    cost.exactly_once,
    speed.slowed,
    sharing.several_workers,
    sharing.fairness,
    others.latencies,
    others.cost_per_frame,
    others.throughput,
)


def targets(rows: Sequence[Row]) -> list[Check]:
    """Every target, measured or not."""
    found = Rows(rows)
    return [check for part in PARTS for check in part(found)]
