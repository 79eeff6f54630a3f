"""How far the producer is: a table that moves on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from riverlens_producer.summary import CameraCounts, Meter, Rate, total

ProgressMode = Literal["auto", "live", "plain", "off"]

_LIVE_S = 0.5
_PLAIN_S = 5.0
_MOST_ROWS = 24
_MOST_NAMES = 8


class Progress:
    """Shows one run's progress.

    Args:
        meter: where the counts are read.
        mode: `auto` is `live` on a terminal and `plain` elsewhere.
        down: the cameras that give no frames now.
    """

    def __init__(
        self,
        meter: Meter,
        mode: ProgressMode,
        *,
        console: Console | None = None,
        down: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._meter = meter
        self._down = down
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        live = mode == "live" or (mode == "auto" and self._console.is_terminal)
        self._mode: ProgressMode = mode if mode == "off" else "live" if live else "plain"
        self._drawn_line_s = time.monotonic()

    def drawn(self, done: int, of: int) -> None:
        """So many synthetic scenes are drawn."""
        now_s = time.monotonic()
        if self._mode == "off" or (
            done < of and now_s - self._drawn_line_s < (1 if self._mode == "live" else 5)
        ):
            return
        self._drawn_line_s = now_s
        self._console.print(
            f"drawing scenes: {done} of {of}", end="\r" if self._mode == "live" and done < of else "\n"
        )

    async def show(self, *, frames: int | None, duration_s: float | None) -> None:
        """Show until cancelled. The run ends at `frames` (of all cameras) or `duration_s`, where known."""
        start_s = time.monotonic()
        self._meter.rates(start_s)
        if self._mode == "plain":
            while True:
                await asyncio.sleep(_PLAIN_S)
                now_s = time.monotonic()
                rates = self._meter.rates(now_s)
                line = plain_line(self._meter.counts, rates, now_s - start_s, self._down())
                self._console.print(line, markup=False)
        if self._mode == "live":
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                while True:
                    await asyncio.sleep(_LIVE_S)
                    now_s = time.monotonic()
                    rates = self._meter.rates(now_s)
                    part = _part(self._meter.counts, now_s - start_s, frames, duration_s)
                    live.update(table(self._meter.counts, rates, part, self._down()), refresh=True)


def _part(
    counts: Mapping[str, CameraCounts], passed_s: float, frames: int | None, duration_s: float | None
) -> float | None:
    parts = []
    if frames:
        parts.append(total(counts.values()).sent / frames)
    if duration_s:
        parts.append(passed_s / duration_s)
    return min(1.0, max(parts)) if parts else None


def plain_line(
    counts: Mapping[str, CameraCounts],
    rates: Mapping[str, Rate],
    passed_s: float,
    down: Sequence[str] = (),
) -> str:
    """`12 s: 1920 frames, 160.0 frames/s, 7.2 MB/s of 16 cameras; 3 dropped; no frames from lobby`."""
    row = total(counts.values())
    frames = sum(rate.frames for rate in rates.values())
    size_bytes = sum(rate.size_bytes for rate in rates.values())
    cameras = f"{len(counts)} camera{'' if len(counts) == 1 else 's'}"
    text = (
        f"{passed_s:.0f} s: {row.acknowledged} frames, {frames:.1f} frames/s, {size_bytes / 1e6:.2f} MB/s "
        f"of {cameras}"
    )
    lost = [f"{getattr(row, name)} {name}" for name in ("dropped", "failed", "refused") if getattr(row, name)]
    away = [f"no frames from {', '.join(down[:_MOST_NAMES])}{' and others' * (len(down) > _MOST_NAMES)}"]
    return "; ".join([text, *lost, *(away if down else ())])


def table(
    counts: Mapping[str, CameraCounts],
    rates: Mapping[str, Rate],
    part: float | None,
    down: Sequence[str] = (),
) -> Group:
    """The moving table: a row a camera (red: no frames), one for all, and a bar to the end (part 0 to 1)."""
    grid = Table(box=None, pad_edge=False, header_style="dim")
    grid.add_column("camera", no_wrap=True, max_width=32)
    for name in ("frames", "frames/s", "MB/s", "dropped", "failed"):
        grid.add_column(name, justify="right")
    for camera_id in list(counts)[:_MOST_ROWS]:
        # Text, never markup, here as in the plain line: a camera may be called [red] or [/].
        shown = Text(camera_id, style="red" if camera_id in down else "")
        grid.add_row(shown, *_cells(counts[camera_id], rates[camera_id]))
    if len(counts) > _MOST_ROWS:
        grid.add_row(f"and {len(counts) - _MOST_ROWS} more")
    everything = Rate(sum(r.frames for r in rates.values()), sum(r.size_bytes for r in rates.values()))
    grid.add_row("all", *_cells(total(counts.values()), everything), style="bold")
    return Group(grid) if part is None else Group(grid, ProgressBar(total=1.0, completed=part, width=60))


def _cells(row: CameraCounts, rate: Rate) -> list[str]:
    return [
        str(row.acknowledged),
        f"{rate.frames:.1f}",
        f"{rate.size_bytes / 1e6:.2f}",
        str(row.dropped),
        str(row.failed),
    ]
