"""`python -m benchmarks`: measure, print tables, write figures, plots and RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from benchmarks.budget import estimate_s, scenario_s
from benchmarks.page import results_page
from benchmarks.plots import latency_plot
from benchmarks.reasons import read_reasons
from benchmarks.run import Ways, prepare_environment, run_scenarios
from benchmarks.scenario import Scenario, chosen, read_scenarios
from benchmarks.store import Store
from benchmarks.tables import capacity_table, latency_table, plain, target_table, verdict_lines, versus_table
from benchmarks.targets import targets
from benchmarks.verdict import disturbed
from riverlens.errors import RiverlensError

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "out"
PAGE = ROOT / "benchmarks" / "RESULTS.md"
PLOTS = "plots"
_PLOT_MOST_MS = {"slow": 300.0, "fast": 150.0}
_BROKEN_OFF = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit code: 0 even where a target is missed, 130 after Ctrl-C or SIGTERM."""
    arguments = _parser().parse_args(argv)
    if arguments.rehearse:
        arguments.out = arguments.out / "rehearsal"
    logging.basicConfig(level=logging.WARNING)
    # It warns of every topic whose leader it does not know yet, and tries again.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    store = Store(arguments.out)
    known = read_scenarios()
    order = [scenario.name for scenario in known]
    code = 0
    try:
        if not arguments.report:
            scenarios = _scenarios(arguments, known)
            if arguments.list:
                return _list(scenarios)
            code = _measure(scenarios, store, order, arguments)
            if code and not store.names():
                return code
        results = store.results(order)
    except RiverlensError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    _show(results)
    folder = arguments.out if arguments.rehearse else PAGE.parent
    # Half a run is no reason to lose the page of a whole one; --report writes it all the same.
    _write(results, arguments.out, page=folder if arguments.page and not code else None)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", help="scenarios whose name begins so; none: those of `make bench`")
    parser.add_argument("--short", action="store_true", help="those of `make bench-short`, shortened")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="each for a few seconds, into a folder of its own: whether all works; its figures say nothing",
    )
    parser.add_argument("--list", action="store_true", help="name them and their time, and measure nothing")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for figures and logs")
    parser.add_argument("--add", action="store_true", help="keep what was measured before, unless again now")
    parser.add_argument("--resume", action="store_true", help="measure only what was not, or broke")
    parser.add_argument("--report", action="store_true", help="measure nothing; tables of what was measured")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} and its plots as well")
    return parser


def _scenarios(arguments: argparse.Namespace, known: Sequence[Scenario]) -> list[Scenario]:
    if arguments.only:
        found = chosen(known, arguments.only)
    else:
        found = [one for one in known if (one.in_short if arguments.short else one.in_full)]
    if arguments.rehearse:
        return [one.rehearsed() for one in found]
    return [one.shortened() for one in found] if arguments.short else found


def _list(scenarios: Sequence[Scenario]) -> int:
    for scenario in scenarios:
        stacks = ", ".join(scenario.stacks)
        print(f"{scenario.name:<32}{scenario.kind:<12}{scenario_s(scenario):>5.0f} s  {stacks}")
    print(f"{'together':<44}{estimate_s(scenarios) / 60:>5.0f} minutes, if none is disturbed and done twice")
    return 0


def _measure(
    scenarios: Sequence[Scenario], store: Store, order: Sequence[str], arguments: argparse.Namespace
) -> int:
    """Measure and keep each; the exit code."""
    if arguments.resume:
        scenarios = [one for one in scenarios if one.name not in store.names()]
    elif not arguments.add:
        store.clear()
    if not scenarios:
        _tell("all of these were measured already; without --resume they are measured again")
        return 0
    _tell(f"{len(scenarios)} scenarios, {estimate_s(scenarios) / 60:.0f} minutes")
    prepare_environment(ROOT)

    def keep(scenario: Scenario, rows: list[dict[str, Any]]) -> None:
        store.keep(scenario.name, rows, order)

    try:
        ways = Ways(_tell, repeat=not (arguments.short or arguments.rehearse))
        asyncio.run(_until_told(run_scenarios(scenarios, arguments.out / "logs", ways, keep)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _tell("broken off; what was measured is kept: go on with --resume")
        return _BROKEN_OFF
    return 0


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """SIGTERM ends the work in order, as Ctrl-C does: a shell makes what it runs behind deaf to that.

    A second one ends this process at once, and the guards of its children those.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # asyncio.run makes one

    def end() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    await work


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _write(results: dict[str, Any], out: Path, *, page: Path | None) -> None:
    """Plots to `out`; the page and its plots to the folder `page`."""
    names = []
    for folder in (out,) if page is None else (out, page / PLOTS):
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"latency-{device}.svg" for device in _PLOT_MOST_MS]
        for name, (device, most_ms) in zip(names, _PLOT_MOST_MS.items(), strict=True):
            (folder / name).write_text(latency_plot(results["rows"], device, most_ms), encoding="utf-8")
    print(f"\nfigures, plots and logs: {out}")
    if page is not None:
        plots = [f"{PLOTS}/{name}" for name in names]
        path = page / PAGE.name
        path.write_text(results_page(results, read_reasons(), plots), encoding="utf-8")
        print(f"the page: {path}")


def _show(results: dict[str, Any]) -> None:
    rows = results["rows"]
    for title, table in (
        ("At saturation", capacity_table(rows)),
        ("At a given load", latency_table(rows)),
        ("Beside the others", versus_table(rows)),
        ("Targets", [row for row in target_table(targets(rows)) if row[-1] != "not measured"]),
    ):
        if len(table) > 1:
            print(f"\n{title}\n{plain(table)}")
    print("\n" + "\n".join(verdict_lines(rows)))
    for title, lines in (
        ("Others worked beside these runs:", disturbed(rows)),
        ("Broken:", [f"{row['scenario']} / {row['stack']}: {row['error']}" for row in results["broken"]]),
    ):
        if lines:
            print(f"\n{title}\n" + "\n".join(f"- {line}" for line in lines))
