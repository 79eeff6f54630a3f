"""Whether the comparison counts, and which runs were disturbed. Pure: from the figures of one run.

What others reach was measured before this benchmark existed. A run in which the comparison worker does
much better or worse than that measures something else, and its comparisons are void.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.checks import ENGINEER, Row, Rows, figure, latency, ratio
from benchmarks.targets.speed import DEVICES, LEAST_CEILING_PERCENT

P50_RATIO = (2.0, 2.3)
"""The engineer's p50 at 60 % load on the slow device, in oracles."""
DISTURBED_CORES = 0.25
"""Work of others beside a run, in cores, from which on its figures are not to be trusted."""


def comparison(rows: Sequence[Row]) -> tuple[bool, list[str]]:
    """Whether the comparison worker reached what it must, and a line for each condition."""
    found = Rows(rows)
    lines, valid = [], True
    for device in DEVICES:
        share = figure(found.saturation(ENGINEER, device), "of_ceiling_percent")
        valid &= share is not None and share >= LEAST_CEILING_PERCENT
        told = "not measured" if share is None else f"{share:.1f} %"
        lines.append(f"ceiling of the {device} device >= {LEAST_CEILING_PERCENT:g} %: {told}")
    row = found.paced(ENGINEER, "slow")
    oracles = ratio(latency(row, "p50_ms"), latency(row, "oracle_p50_ms"))
    low, high = P50_RATIO
    valid &= oracles is not None and low <= oracles <= high
    told = "not measured" if oracles is None else f"{oracles:.2f}"
    lines.append(f"p50 at 60 % load on the slow device, in oracles, {low} to {high}: {told}")
    return valid, lines


def disturbed(rows: Sequence[Row]) -> list[str]:
    """Runs beside which others worked, with how many cores; of repeated ones, the quieter."""
    return [
        f"{row['scenario']} / {row['stack']}: {row['foreign_cores']:.2f} cores"
        for row in rows
        if row["foreign_cores"] > DISTURBED_CORES
    ]
