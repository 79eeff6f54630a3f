"""RESULTS.md, whole, from the figures. Pure: every number in it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.checks import Check, Row, Rows
from benchmarks.reasons import Reasons, why
from benchmarks.tables import (
    Table,
    capacity_table,
    hops_table,
    latency_table,
    markdown,
    stages_table,
    start_table,
    target_table,
    verdict_lines,
    versus_table,
)
from benchmarks.targets import targets
from benchmarks.targets.speed import hops_notes
from benchmarks.verdict import DISTURBED_CORES, disturbed
from benchmarks.versus import versus

_READ = """\
Kafka, the cameras, the simulated device and the stacks share one machine, so compare figures of this page
with each other, not with those of another machine. `python -m benchmarks --list` tells what is measured,
`benchmarks/scenarios.toml` how.

- **Device**: answers a batch of n rows after a + b*n ms and takes one at a time: *slow* 20 + 3n (a large
  detector), *fast* 3 + 0.4n. It sleeps, so it costs next to no CPU. Its ceiling is 32 rows in every batch,
  one after the other.
- **Latency**: from capture (the frame's timestamp, when the camera sent it) to event (when the broker
  appended it), of all frames after the warm-up.
- **Oracle**: the best that anybody could do with the same arrivals: each batch leaves at the very best
  moment, 2 ms there and 2 ms back, no Kafka, no CPU. Nobody reaches it; it tells how much is left.
- **Stacks**: *riverlens* is `riverlens worker run` with its defaults. *engineer*: aiokafka, batches of 32, a
  thread pool, two calls in flight, offsets committed after the events; what a good engineer writes in a day.
  *one-by-one*: one image a call, as tutorials do. All three get the same frames at the same moments.
- **Kafka**: one broker. Its data lies in memory where 16 GB of that are free, so that no disk is measured.
- **Others' cores**: what processes that are no part of the measurement used meanwhile. A run with more than
  {disturbed:g} is done again, once, and the quieter of both counts, whatever its result. All repetitions
  together take a quarter of an hour at most."""
_HOPS = """\
No worker at all: whatever is read becomes an event at once. p50 / p99 in ms of the same arrivals. What the
contract allows for it is 3 ms. Percentiles do not add up exactly, so the sum is a guide to what the machine
leaves, not a bound."""
_STAGES = """\
Means over all frames, by the worker's own metrics: *broker* from capture to receipt, *queue* for the device
to become free, *predict* the call with its way there and back, *publish* from the answer to the acknowledged
event. Beside it the cores that each part of the line kept busy, and how late the simulated device answered
and the cameras sent because they got no core: what no stack can help."""
_TESTS = """\
Two promises are shown elsewhere: `latest_only` going straight to live frames after an outage of 60 s, and
`every_frame` catching up in order, by `make chaos`; the settings that `riverlens worker tune` finds, against
those of an exhaustive sweep, by its own tests."""


def results_page(results: Mapping[str, Any], reasons: Reasons, plots: Sequence[str] = ()) -> str:
    """RESULTS.md; `plots`: their paths from there."""
    rows: Sequence[Row] = results["rows"]
    checks = targets(rows)
    missed = _missed(rows, checks, reasons)
    parts: list[str] = [
        "# What riverlens reaches, beside what others reach",
        _head(results),
        "## Does the comparison count?",
        "\n".join(verdict_lines(rows)),
        _quiet(rows, len(results["broken"])),
        "## How to read this page",
        _READ.format(disturbed=DISTURBED_CORES),
        "## Targets",
        _summary(checks),
        markdown(target_table(checks, _places(missed))),
        *_with_reasons("Missed, and why", missed),
        "## Beside the others",
        *_beside(rows, reasons),
        *(f"![{plot}]({plot})" for plot in plots),
        *_table("Kafka's hops alone", _HOPS, hops_table(rows)),
        *_table("Where a frame's time goes", _STAGES, stages_table(rows)),
        *_table("At saturation", "", capacity_table(rows)),
        *_table("At a given load", "", latency_table(rows)),
        *_table("Starts", "", start_table(rows)),
        *_noise(results),
        "## Shown elsewhere",
        _TESTS,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _head(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    where = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB"
    lines = (
        "Written by `make bench` from its figures; do not edit.",
        f"Machine: {where}, Python {machine['python']}, riverlens {machine['riverlens']}.",
        f"Measured: {results['begun']} to {results['ended']}.",
    )
    return "  \n".join(lines)


def _quiet(rows: Sequence[Row], broken: int) -> str:
    count = len(disturbed(rows))
    told = f"None of the {len(rows)} runs was disturbed by others' work on the machine."
    if count:
        told = f"Others' work on the machine disturbed {count} of the {len(rows)} runs: see Disturbed."
    return f"{told} {broken} more broke, so their figures are missing: see Broken." if broken else told


def _summary(checks: Iterable[Check]) -> str:
    states = [check.state for check in checks]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("met", "MISSED", "not measured"))
    how = "The ratio is ours to the target; the number behind a missed one is that of its reason, below."
    return f"{len(states)} targets: {counts}. {how}"


_Reasoned = Mapping[str, Mapping[str, str]]
"""What each reason is the reason of, its text by its key; numbered from 1 in this order."""


def _missed(rows: Sequence[Row], checks: Iterable[Check], reasons: Reasons) -> _Reasoned:
    notes = hops_notes(Rows(rows))
    found: dict[str, dict[str, str]] = {}
    for check in (check for check in checks if check.state == "MISSED"):
        note = notes.get(check.key)
        # What the hops do not explain needs a reason of its own.
        reason = why(check.key + ("-with-hops" if note is not None and not note.met else ""), reasons)
        found.setdefault(reason, {})[check.key] = check.what + (f" ({note.text})" if note else "")
    return found


def _behind(rows: Sequence[Row], reasons: Reasons) -> _Reasoned:
    found: dict[str, dict[str, str]] = {}
    for one in versus(rows):
        if one.standing == "behind":
            found.setdefault(why(one.key, reasons), {})[one.key] = f"{one.scenario}, {one.figure}"
    return found


def _places(found: _Reasoned) -> dict[str, int]:
    """The number of the reason, by key."""
    return {key: place for place, texts in enumerate(found.values(), 1) for key in texts}


def _with_reasons(title: str, found: _Reasoned) -> Iterable[str]:
    """Each reason once, above what it is the reason of."""
    if found:
        yield f"### {title}"
        for place, (reason, texts) in enumerate(found.items(), 1):
            yield "\n".join([f"{place}. {reason}", *(f"   - {text}" for text in texts.values())])


def _beside(rows: Sequence[Row], reasons: Reasons) -> Iterable[str]:
    found = versus(rows)
    if not found:
        yield "Not measured."
        return
    standings = [one.standing for one in found]
    counts = ", ".join(f"{standings.count(standing)} {standing}" for standing in ("ahead", "level", "behind"))
    yield f"riverlens against the better of the two others: {counts}."
    behind = _behind(rows, reasons)
    yield markdown(versus_table(rows, _places(behind)))
    yield from _with_reasons("Behind, and why", behind)


def _table(title: str, text: str, table: Table) -> Iterable[str]:
    if len(table) > 1:
        yield f"## {title}"
        yield text
        yield markdown(table)


def _noise(results: Mapping[str, Any]) -> Iterable[str]:
    noise = disturbed(results["rows"])
    if noise:
        yield "## Disturbed"
        yield "Others worked on the machine beside these runs; do not trust their figures:"
        yield "\n".join(f"- {line}" for line in noise)
    repeated = [row for row in results["rows"] if row.get("foreign_cores_of_runs")]
    if repeated:
        yield "## Done twice"
        yield "The first was disturbed; the quieter counts. Others' cores of both:"
        yield "\n".join(f"- {row['scenario']} / {row['stack']}: {_cores(row)}" for row in repeated)
    if results["broken"]:
        yield "## Broken"
        yield "\n".join(f"- {row['scenario']} / {row['stack']}: {row['error']}" for row in results["broken"])


def _cores(row: Row) -> str:
    return ", ".join(f"{cores:.2f}" for cores in row["foreign_cores_of_runs"])
