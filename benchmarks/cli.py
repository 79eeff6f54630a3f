"""`python -m benchmarks`: measure, print a table, write JSON, plots and RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.run import ROOT, machine, prepare_environment, run_scenarios
from benchmarks.scenario import Scenario, chosen, read_scenarios
from riverlens.errors import RiverlensError

OUT = ROOT / "benchmarks" / "out"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        scenarios = _scenarios(arguments)
        if arguments.list:
            for scenario in scenarios:
                print(f"{scenario.name:<32}{scenario.kind:<12}{', '.join(scenario.stacks)}")
            return 0
        _measure(scenarios, arguments.out)
    except RiverlensError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="scenarios whose name begins so; none: those of `make bench`")
    parser.add_argument("--short", action="store_true", help="those of `make bench-short`, shortened")
    parser.add_argument("--list", action="store_true", help="name them and measure nothing")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for results and logs")
    return parser


def _scenarios(arguments: argparse.Namespace) -> list[Scenario]:
    known = read_scenarios()
    if arguments.only:
        known = chosen(known, arguments.only)
    else:
        known = [one for one in known if (one.in_short if arguments.short else one.in_full)]
    return [one.shortened() for one in known] if arguments.short else known


def _measure(scenarios: Sequence[Scenario], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "machine": machine()}
    rows: list[dict[str, Any]] = []
    results["rows"] = rows

    def keep(found: list[dict[str, Any]]) -> None:
        rows.extend(found)
        (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        for row in found:
            print({k: v for k, v in row.items()})

    prepare_environment()
    asyncio.run(run_scenarios(scenarios, out / "logs", print, keep))
