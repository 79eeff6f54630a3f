"""Figures as tables and as RESULTS.md. Pure: no figure is ever typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.verdict import Check, comparison, disturbed, targets

Row = Mapping[str, Any]
Table = list[list[str]]
"""The first row is the heading."""

_HOW = (
    "Written by `make bench` from its figures; do not edit. Device, Kafka, cameras and stacks share one"
    " machine, so ratios within this run count, not the figures alone. Latency is from capture (the frame's"
    " timestamp, when the feed sent it) to event (when the broker appended it). The oracle hands out each"
    " batch at the best moment for the same arrivals, with 2 ms to the device and 2 ms back and no Kafka."
    " How it works: the docstrings of `benchmarks/`; what is measured: `benchmarks/scenarios.toml`."
)
_CAPACITY = (
    ("of ceiling %", "of_ceiling_percent", ".1f"),
    ("frames/s", "frames_per_s", ".0f"),
    ("rows a batch", "rows_a_batch", ".1f"),
    ("CPU ms/frame", "cpu_ms_per_frame", ".2f"),
    ("RSS MB start", "rss_start_mb", ".0f"),
    ("peak", "rss_peak_mb", ".0f"),
    ("repeats", "repeats", "d"),
    ("out of order", "disorder", "d"),
    ("ready s", "ready_after_s", ".1f"),
    ("others' cores", "foreign_cores", ".2f"),
)
_PERCENTILES = (
    ("p50 ms", "p50_ms"),
    ("p99", "p99_ms"),
    ("most", "p100_ms"),
    ("oracle p50", "oracle_p50_ms"),
    ("p99", "oracle_p99_ms"),
    ("split p50", "split_oracle_p50_ms"),
    ("p99", "split_oracle_p99_ms"),
)


def capacity_table(rows: Iterable[Row]) -> Table:
    """Filled topics: what each stack makes of the device."""
    table = [["scenario", "stack", *(name for name, *_ in _CAPACITY)]]
    for row in rows:
        if row["kind"] == "saturation":
            cells = [_number(row[key], form) for _, key, form in _CAPACITY]
            table.append([row["scenario"], row["stack"], *cells])
    return table


def latency_table(rows: Iterable[Row]) -> Table:
    """Paced frames: capture to event, beside the oracle's for the same arrivals."""
    heading = ["scenario", "stack", "frames", "answered", *(name for name, _ in _PERCENTILES)]
    table = [[*heading, "p50 in oracles", "CPU ms/frame", "lost", "others' cores"]]
    for row in rows:
        for name, group in row["latency"].items():
            ratio = _ratio(group["p50_ms"], group["oracle_p50_ms"])
            table.append(
                [
                    row["scenario"] + ("" if name == "all" else f": {name}"),
                    row["stack"],
                    _number(group["frames"], "d"),
                    _number(group["answered"], "d"),
                    *(_number(group.get(key), ".0f") for _, key in _PERCENTILES),
                    _number(ratio, ".2f"),
                    _number(row["cpu_ms_per_frame"], ".2f"),
                    _number(row["missing"], "d"),
                    _number(row["foreign_cores"], ".2f"),
                ]
            )
    return table


def target_table(checks: Iterable[Check]) -> Table:
    """Each target, what was measured, and whether that is enough."""
    table = [["target", "measured", "bound", ""]]
    for check in checks:
        bound = f"{'<=' if check.most else '>='} {check.bound:.4g}"
        table.append([check.what, f"{check.value:.4g}", bound, "met" if check.met else "MISSED"])
    return table


def plain(table: Table) -> str:
    """For a terminal."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)  # noqa: PLR2004  # two columns of words
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def markdown(table: Table) -> str:
    """For a page."""
    heading, *rows = table
    rule = ["---", "---", *["---:"] * (len(heading) - 2)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows))


def verdict_lines(rows: Sequence[Row]) -> list[str]:
    """Whether the comparison with others counts, and why."""
    valid, lines = comparison(rows)
    head = "The comparison counts." if valid else "THE COMPARISON IS VOID: the engineer's worker must reach"
    return [head, *(f"- {line}" for line in lines)]


def results_page(results: Mapping[str, Any]) -> str:
    """RESULTS.md, whole."""
    rows: Sequence[Row] = results["rows"]
    machine = results["machine"]
    noise = disturbed(rows)
    where = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB"
    parts = [
        "# What riverlens reaches, beside what others reach",
        _HOW,
        f"{results['at']}, {where}, Python {machine['python']}.",
        "## Targets",
        markdown(target_table(targets(rows))),
        "## Does the comparison count?",
        "\n".join(verdict_lines(rows)),
        "## At saturation",
        markdown(capacity_table(rows)),
        "## At a given load",
        markdown(latency_table(rows)),
    ]
    if noise:
        parts += [
            "## Disturbed",
            "Others worked on the machine beside these runs:\n" + "\n".join(f"- {line}" for line in noise),
        ]
    return "\n\n".join(parts) + "\n"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _ratio(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None
