"""Figures as tables. Pure: no figure is ever typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.checks import HOPS, OURS, Check, Row, Rows, latency, ratio
from benchmarks.targets.speed import DEVICES, LOADS, ORACLES, with_hops
from benchmarks.verdict import comparison
from benchmarks.versus import versus

Table = list[list[str]]
"""The first row is the heading."""

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
            oracles = ratio(group["p50_ms"], group["oracle_p50_ms"])
            table.append(
                [
                    row["scenario"] + ("" if name == "all" else f": {name}"),
                    row["stack"],
                    _number(group["frames"], "d"),
                    _number(group["answered"], "d"),
                    *(_number(group.get(key), ".0f") for _, key in _PERCENTILES),
                    _number(oracles, ".2f"),
                    _number(row["cpu_ms_per_frame"], ".2f"),
                    _number(row["missing"], "d"),
                    _number(row["foreign_cores"], ".2f"),
                ]
            )
    return table


_NO_PLACES: Mapping[str, int] = {}


def target_table(checks: Iterable[Check], places: Mapping[str, int] = _NO_PLACES) -> Table:
    """Each target, ours, their ratio, and whether that is enough; `places`: the reasons' numbers by key."""
    table = [["what", "ours", "target", "ratio", ""]]
    for check in checks:
        bound = "-" if check.bound is None else f"{'<=' if check.most else '>='} {check.bound:.4g}"
        share = _number(ratio(check.value, check.bound), ".2f")
        state = _with_place(check.state, places.get(check.key))
        table.append([check.what, _number(check.value, ".4g"), bound, share, state])
    return table


def _with_place(word: str, place: int | None) -> str:
    return word if place is None else f"{word} ({place})"


def versus_table(rows: Sequence[Row], places: Mapping[str, int] = _NO_PLACES) -> Table:
    """Ours beside the others', figure by figure; `places`: the reasons' numbers by key."""
    table = [["scenario", "figure", "riverlens", "engineer", "one by one", ""]]
    for one in versus(rows):
        values = (_short(value) for value in (one.ours, one.engineer, one.one_by_one))
        standing = _with_place(one.standing, places.get(one.key))
        table.append([one.scenario, one.figure, *values, standing])
    return table


def hops_table(rows: Sequence[Row]) -> Table:
    """Kafka's hops alone, and what they leave of the oracle: p50 / p99 in ms."""
    found = Rows(rows)
    table = [["device", "load", "oracle", "hops alone", f"{ORACLES:g} oracles + hops", "riverlens"]]
    for device in DEVICES:
        for load in LOADS:
            hops, ours = (found.paced(stack, device, load) for stack in (HOPS, OURS))
            if hops is None:
                continue
            pairs = (
                [latency(hops, f"oracle_p{percent}_ms") for percent in (50, 99)],
                [latency(hops, f"p{percent}_ms") for percent in (50, 99)],
                [with_hops(found, device, load, percent) for percent in (50, 99)],
                [latency(ours, f"p{percent}_ms") for percent in (50, 99)],
            )
            cells = [" / ".join(_number(value, ".0f") for value in pair) for pair in pairs]
            table.append([device, f"{load:.0%}", *cells])
    return table


_STAGES = ("broker", "queue", "decode", "predict", "publish")
_LATE = (("late p99 ms: device", "device_late_p99_ms"), ("cameras", "feed_late_p99_ms"))


def stages_table(rows: Iterable[Row]) -> Table:
    """Where a frame's time goes in riverlens, by its own metrics, mean in ms; and the rest of the line."""
    cores = ("cores: worker", "Kafka", "device", "cameras")
    table = [["scenario", "rows a batch", *_STAGES, *cores, *(name for name, _ in _LATE)]]
    for row in rows:
        if row["kind"] == "paced" and row.get("stages_ms"):
            line = row["line_cores"]
            used = (row["cpu_cores"], line["kafka"], line["device"], line["feed"])
            cells = (
                _number(row["rows_a_batch"], ".1f"),
                *(_number(row["stages_ms"].get(stage), ".1f") for stage in _STAGES),
                *(_number(value, ".2f") for value in used),
                *(_number(row[key], ".1f") for _, key in _LATE),
            )
            table.append([row["scenario"], *cells])
    return table


def start_table(rows: Iterable[Row]) -> Table:
    """Starts: the median and each."""
    table = [["scenario", "stack", "first Predict s, median", "each", "RSS MB"]]
    for row in rows:
        if row["kind"] == "start":
            each = ", ".join(f"{value:.2f}" for value in row["first_predicts_s"])
            table.append(
                [
                    row["scenario"],
                    row["stack"],
                    _number(row["first_predict_s"], ".2f"),
                    each,
                    _number(row["rss_start_mb"], ".0f"),
                ]
            )
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


def _short(value: float | None) -> str:
    """Three digits, or all of a whole number that has more."""
    return _number(value, ".3g" if value is None or abs(value) < 1000 else ".0f")  # noqa: PLR2004  # digits


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
