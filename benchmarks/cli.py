"""`python -m benchmarks`: measure, print tables, write JSON, plots and RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plots import latency_plot
from benchmarks.run import ROOT, machine, prepare_environment, run_scenarios
from benchmarks.scenario import Scenario, chosen, read_scenarios
from benchmarks.tables import (
    capacity_table,
    latency_table,
    plain,
    results_page,
    target_table,
    verdict_lines,
)
from benchmarks.verdict import disturbed, targets
from riverlens.errors import RiverlensError, SetupError

OUT = ROOT / "benchmarks" / "out"
PAGE = ROOT / "benchmarks" / "RESULTS.md"
_PLOT_MOST_MS = {"slow": 300.0, "fast": 150.0}


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit code: 0 even where a target is missed."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.report:
            results = _read(arguments.out)
        else:
            scenarios = _scenarios(arguments)
            if arguments.list:
                for scenario in scenarios:
                    print(f"{scenario.name:<32}{scenario.kind:<12}{', '.join(scenario.stacks)}")
                return 0
            results = _measure(scenarios, arguments.out, _read(arguments.out) if arguments.add else None)
    except RiverlensError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    _show(results)
    for device, most_ms in _PLOT_MOST_MS.items():
        plot = latency_plot(results["rows"], device, most_ms)
        (arguments.out / f"latency-{device}.svg").write_text(plot, encoding="utf-8")
    if arguments.page:
        PAGE.write_text(results_page(results), encoding="utf-8")
    print(f"\nfigures, plots and logs: {arguments.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="scenarios whose name begins so; none: those of `make bench`")
    parser.add_argument("--short", action="store_true", help="those of `make bench-short`, shortened")
    parser.add_argument("--list", action="store_true", help="name them and measure nothing")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for results and logs")
    parser.add_argument(
        "--add", action="store_true", help="keep what was measured before, if not measured again"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing; tables of what was measured")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} as well")
    return parser


def _scenarios(arguments: argparse.Namespace) -> list[Scenario]:
    known = read_scenarios()
    if arguments.only:
        known = chosen(known, arguments.only)
    else:
        known = [one for one in known if (one.in_short if arguments.short else one.in_full)]
    return [one.shortened() for one in known] if arguments.short else known


def _measure(scenarios: Sequence[Scenario], out: Path, before: dict[str, Any] | None) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = list(before["rows"]) if before else []
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    results: dict[str, Any] = {"at": at, "machine": machine(), "rows": rows}

    def keep(found: list[dict[str, Any]]) -> None:
        names = {row["scenario"] for row in found}
        rows[:] = [row for row in rows if row["scenario"] not in names] + found
        _file(out).write_text(json.dumps(results, indent=1), encoding="utf-8")

    prepare_environment()
    asyncio.run(run_scenarios(scenarios, out / "logs", _tell, keep))
    return results


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _file(out: Path) -> Path:
    return out / "results.json"


def _read(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_file(out).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise SetupError(f"{_file(out)} cannot be read ({error}); measure first: make bench-short") from None
    return found


def _show(results: dict[str, Any]) -> None:
    rows = results["rows"]
    for title, table in (
        ("At saturation", capacity_table(rows)),
        ("At a given load", latency_table(rows)),
        ("Targets", target_table(targets(rows))),
    ):
        print(f"\n{title}\n{plain(table)}")
    print("\n" + "\n".join(verdict_lines(rows)))
    noise = disturbed(rows)
    if noise:
        print("\nOthers worked beside these runs:\n" + "\n".join(f"- {line}" for line in noise))
