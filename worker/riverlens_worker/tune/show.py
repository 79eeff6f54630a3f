"""What a person sees of it: a line for each step, and a table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from riverlens_worker.tune.choice import Load, Trial
from riverlens_worker.tune.plan import Candidate, Server

_BUSY = 0.85


class Show:
    """Writes to the console: coloured on a terminal, plain elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """A step."""
        self._console.print(text, markup=False)

    def times(self, medians: Mapping[int, float], padding: Mapping[int, int]) -> None:
        """Calls one at a time, by rows."""
        table = _table("one call at a time", ("rows", "ms", "ms a row", "frames/s", ""))
        for rows, seconds in medians.items():
            note = f"padded to {padding[rows]}" if rows in padding else ""
            ms = seconds * 1000
            table.add_row(str(rows), f"{ms:.1f}", f"{ms / rows:.2f}", f"{rows / seconds:.0f}", note)
        self._console.print(table)

    def server(self, server: Server) -> None:
        """What they come to."""
        at_once = "one call at a time" if server.devices == 1 else f"{server.devices} calls at once"
        self.line(
            f"a call of n rows takes {server.a_s * 1000:.1f} + {server.b_s * 1000:.2f} n ms;"
            f" the server works on {at_once}"
        )

    def trial(self, trial: Trial, load: Load, target_ms: float) -> None:
        """One run."""
        verdict = "carried" if load.within(target_ms) else "too much"
        self.line(f"{trial.candidate.text():<42}{_load_text(load)}  {verdict}")
        if load.cpu > _BUSY:
            self.line(
                f"  this process kept {load.cpu:.1f} cores busy: the server may bear more than it sends"
            )

    def loads(self, chosen: Candidate, loads: Sequence[Load]) -> None:
        """The chosen settings at several loads."""
        table = _table(chosen.text(), ("frames/s", "p50 ms", "p99 ms", "rows a call"))
        for load in loads:
            cells = (load.per_s, load.p50_ms, load.p99_ms, load.mean_rows)
            table.add_row(*[f"{cell:.0f}" for cell in cells[:3]], f"{cells[3]:.1f}")
        self._console.print(table)


def _load_text(load: Load) -> str:
    rest = "" if load.answered == 1 else ", fell behind"
    return f"{load.per_s:7.1f} frames/s: p50 {load.p50_ms:5.0f}, p99 {load.p99_ms:5.0f} ms{rest}"


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    return table
