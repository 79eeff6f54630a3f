"""Simulated model servers to tune, and the exhaustive sweep that the result is held against."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.cost import Cost
from benchmarks.device.commands import ENCODED, device_command
from riverlens.broker.ports import free_ports
from riverlens.child import ChildProcess
from riverlens_worker.endpoints import Endpoint
from riverlens_worker.model import discover
from riverlens_worker.tune.choice import Load, Search, Trial
from riverlens_worker.tune.images import images
from riverlens_worker.tune.plan import Candidate, Dispatch
from riverlens_worker.tune.runner import Runner
from riverlens_worker.tune.settings import TuneSettings
from riverlens_worker.tune.show import Show
from tests.model_servers import wait_for

MODEL = ENCODED


@contextmanager
def simulated(folder: Path, cost: Cost, devices: int = 1, merge_rows: int | None = None) -> Iterator[str]:
    """host:port of a simulated model server, listening."""
    port, http_port = free_ports(2)
    command = device_command(cost, devices, merge_rows, [port], http_port)
    process = ChildProcess("device", command, folder / "device.log")
    process.start()
    try:
        wait_for(lambda: _accepts(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.end(grace_s=2)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Swept(Search):
    """A search that remembers what each candidate carried at most, in frames a second."""

    def __init__(self, candidates: Sequence[Candidate], first_per_s: float, target_ms: float) -> None:
        super().__init__(candidates, first_per_s, target_ms)
        self.carried: dict[Candidate, float] = {}

    def tell(self, trial: Trial, load: Load) -> None:
        """As the search; and noted."""
        super().tell(trial, load)
        if self.best is not None and self.leader == trial.candidate:
            self.carried[trial.candidate] = self.best.per_s


def every_way(rows: Sequence[int], most_calls: int) -> list[Candidate]:
    """All combinations of the three settings."""
    dispatches: tuple[Dispatch, ...] = ("just-in-time", "at-once")
    return [
        Candidate(size, calls, dispatch)
        for dispatch in dispatches
        for calls in range(1, most_calls + 1)
        for size in rows
    ]


async def sweep(
    settings: TuneSettings, chosen: Candidate, others: Sequence[Candidate], per_s: float
) -> Swept:
    """What `chosen` carries, found anew, and then every other combination, each driven to its highest.

    The same runs and the same verdicts as in tuning, but nothing is left out.
    """
    endpoint = Endpoint(settings.server, settings.model)
    try:
        model = await discover(endpoint, settings, lambda _: None)
        sent = images(None, model.target)
        show = Show(Console(highlight=False, soft_wrap=True, width=120))
        runner = Runner(model, sent.rows, settings, time.monotonic(), show)
        search = Swept([chosen, *(one for one in others if one != chosen)], per_s, settings.latency_target_ms)
        await runner.drive(search)
    finally:
        await endpoint.close()
    return search
