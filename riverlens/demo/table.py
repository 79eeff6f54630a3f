"""The live table: on a terminal it redraws itself, elsewhere a plain line now and then."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from riverlens.demo.observer import Seen, percentile
from riverlens.demo.worker_metrics import WorkerMetrics

_PLAIN_EVERY_S = 5.0
_SHOWN_CAMERAS = 16


class LiveTable:
    """Shows how the demo runs. `with LiveTable(console) as table: table.show(...)`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._said_s = float("-inf")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, seen: Seen, metrics: WorkerMetrics, left_s: float | None) -> None:
        """Show a reading; `left_s` is how long the demo still runs, None for until Ctrl-C."""
        now_s = time.monotonic()
        if self._live is not None:
            self._live.update(_picture(seen, metrics, left_s, now_s), refresh=True)
        elif now_s - self._said_s >= _PLAIN_EVERY_S:
            self._said_s = now_s
            self._console.print(status_line(seen, metrics, now_s), markup=False, soft_wrap=True)


def status_line(seen: Seen, metrics: WorkerMetrics, now_s: float) -> str:
    """One line: rate, latency, batch, load, outcomes."""
    recent = [latency for _, latency, _ in seen.recent]
    p50, p99 = percentile(recent, 0.5), percentile(recent, 0.99)
    return (
        f"{sum(seen.rates(now_s).values()):6.1f} frames/s | capture to event p50 {_ms(p50)} p99 {_ms(p99)} | "
        f"batch {seen.mean_batch():4.1f} | load {metrics.load_ratio:4.0%} | {outcomes_line(metrics)}"
    )


def outcomes_line(metrics: WorkerMetrics) -> str:
    """`consumed 100 = published 98 + dropped 0 + dead-lettered 0 + fenced 0 + in flight 2`."""
    got = metrics.outcomes.get
    return (
        f"consumed {metrics.consumed} = published {got('published', 0)} + dropped {got('dropped', 0)} + "
        f"dead-lettered {got('dead_lettered', 0)} + fenced {got('fenced', 0)} + in flight {metrics.in_flight}"
    )


def _ms(value: float | None) -> str:
    return "   - ms" if value is None else f"{value:4.0f} ms"


def _picture(seen: Seen, metrics: WorkerMetrics, left_s: float | None, now_s: float) -> Group:
    cameras = Table(title="cameras", title_justify="left", box=None, padding=(0, 2))
    for heading, side in (("camera", "left"), ("frames/s", "right"), ("p50", "right"), ("p99", "right")):
        cameras.add_column(heading, justify="left" if side == "left" else "right")
    rates = seen.rates(now_s)
    for camera in list(rates)[:_SHOWN_CAMERAS]:
        latencies = [latency for _, latency, name in seen.recent if name == camera]
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        cameras.add_row(Text(camera), f"{rates[camera]:.1f}", _ms(p50), _ms(p99))
    if len(rates) > _SHOWN_CAMERAS:
        cameras.add_row(f"and {len(rates) - _SHOWN_CAMERAS} more", "", "", "")
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(metrics.batch_reasons.items()))
    stages = "  ".join(f"{name} {mean * 1000:.0f} ms" for name, mean in metrics.stage_s.items())
    until = "until Ctrl-C" if left_s is None else f"{max(0.0, left_s):.0f} s left"
    return Group(
        cameras,
        Text(""),
        Text(status_line(seen, metrics, now_s)),
        Text(f"batches by reason: {reasons or '-'}"),
        Text(f"mean time by stage: {stages or '-'}"),
        Text(f"{until}; waiting on Kafka: {metrics.lag} frames", style="dim"),
    )
