"""`riverlens worker tune`."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack

from rich.console import Console

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.logs import set_up_logs
from riverlens.settings import load
from riverlens_worker.batching import Limits
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.endpoints.tls import Tls
from riverlens_worker.limits import CallLimits
from riverlens_worker.model import discover
from riverlens_worker.tune import plan
from riverlens_worker.tune.choice import Load, Search, Trial, Tuned
from riverlens_worker.tune.cost import padded
from riverlens_worker.tune.images import images
from riverlens_worker.tune.load import Line, Schedule
from riverlens_worker.tune.output import make_folder, write
from riverlens_worker.tune.plan import Candidate, Server
from riverlens_worker.tune.probe import Probe
from riverlens_worker.tune.settings import TuneSettings
from riverlens_worker.tune.show import Show

_TIMING_SHARE = 0.15
"""Of the whole time, for calls one at a time."""
_WARM_UP_S = 1.0
_WARM_UP_TARGETS = 4
_WARM_UP_LOAD = 0.6
_LEAST_RUN_S = 3.0
_MOST_RUN_SHARE = 0.05
"""Of the whole time, for one run."""
_FRAMES = 1500
_LAST_LOADS = (0.3, 0.6, 0.9)
_GIVE_UP_TARGETS = 3.0


class TargetError(RiverlensError):
    """No settings reach the latency target; says the best that was reached."""


def main(argv: list[str], prog: str) -> int:
    """Measure, write both files, say how to use them; 0."""
    settings = load(TuneSettings, argv, prog=prog)
    # What the worker would log while it runs is said in the lines.
    set_up_logs("debug" if settings.log_level == "debug" else "error", settings.log_format)
    logging.getLogger("riverlens_worker").setLevel(logging.NOTSET)
    show = Show(Console(highlight=False, soft_wrap=True))
    folder = make_folder(settings.out)
    tuned = asyncio.run(tune(settings, show))
    write(settings, tuned, folder, show)
    return 0


async def tune(settings: TuneSettings, show: Show) -> Tuned:
    """Measure the server and find the settings.

    Raises:
        RiverlensError: the server is away or refuses, the model is unknown, the target out of reach.
    """
    began_s = time.monotonic()
    endpoint = Endpoint(settings.server, settings.model, Tls.of(settings))
    try:
        await endpoint.wait_available(_do_not_wait)
        model = await discover(endpoint, settings, _do_not_wait)
        sent = images(settings.images, model.target)
        most = min(settings.most_rows, max(1, settings.max_batch_bytes // sent.rows[0].nbytes))
        probe = Probe(endpoint, model, sent.rows, CallLimits(Limits(most, settings.max_batch_bytes)))
        show.line(
            f"{settings.model} on {settings.server} takes {model.layout.fed_text()}; sending {sent.text}"
        )
        server, padding = await _measure(probe, settings, most, show)
        slow_first = bool(probe.times.slow_first_sizes())
        if slow_first:
            show.line("the first call of a size is slow: sending each size once")
            await probe.warm_up(max(server.sizes))
        runner = _Runner(probe, settings, began_s, show)
        search = await runner.search(server)
        assert search.best is not None  # noqa: S101  # else it has raised
        loads = await runner.loads(search.leader, search.best)
        show.loads(search.leader, loads)
        if not all(one.within(settings.latency_target_ms) for one in loads):
            show.line(
                "less load took longer than more: something else is at work here or there; run it again"
            )
    except CallFailedError as error:
        raise UnreachableError(f"the model server at {settings.server} stopped answering: {error}") from None
    finally:
        await endpoint.close()
    took_s = time.monotonic() - began_s
    return Tuned(search.leader, search.best, server, search.tried, took_s, slow_first, padding)


async def _measure(
    probe: Probe, settings: TuneSettings, most: int, show: Show
) -> tuple[Server, dict[int, int]]:
    """What calls cost, which sizes are padded, how many run at once."""
    target_s = settings.latency_target_ms / 1000
    fixed = probe.model.layout.rows
    await probe.one_by_one(plan.sizes(most, fixed), target_s, settings.seconds * _TIMING_SHARE)
    medians, cost = probe.times.medians(), probe.times.fit.cost()
    if min(medians.values()) > target_s:
        raise TargetError(
            f"latency_target_ms: {settings.latency_target_ms:g} ms is out of reach: on {settings.server} a"
            f" call of {min(medians)} alone takes {min(medians.values()) * 1000:.0f} ms:"
            " raise --latency-target-ms, or give it a faster server"
        )
    assert cost is not None  # noqa: S101  # every size was sent several times
    padding = padded(probe.times, cost[1])
    show.times(medians, padding)
    limit = probe.limits.current().rows
    if fixed is None and limit < most:
        show.line(f"the server takes at most {limit} rows a call")
    quick = [rows for rows, seconds in medians.items() if seconds <= target_s / 2] or [min(medians)]
    devices = await probe.devices(max(quick), settings.most_calls)
    offered = [rows for rows in medians if rows not in padding and rows <= limit]
    server = Server(*cost, devices, offered)
    show.server(server)
    return server, padding


class _Runner:
    """Runs loads, one line for each candidate in turn."""

    def __init__(self, probe: Probe, settings: TuneSettings, began_s: float, show: Show) -> None:
        self._probe = probe
        self._settings = settings
        self._until_s = began_s + settings.seconds
        self._show = show
        self._target_ms = settings.latency_target_ms
        # The dispatch clock needs a few calls, and batches some more until they have their usual size.
        self._most_run_s = max(_LEAST_RUN_S, _MOST_RUN_SHARE * settings.seconds)
        self._warm_up_s = max(_WARM_UP_S, _WARM_UP_TARGETS * self._target_ms / 1000)

    async def search(self, server: Server) -> Search:
        """Runs what the search asks for, while there is time.

        Raises:
            TargetError: nothing was within the target.
        """
        settings, target_s = self._settings, self._target_ms / 1000
        rows = plan.best_size(server, target_s)
        search = Search(
            plan.ways(server.devices, rows, settings.most_calls),
            server.sizes,
            plan.first_load_per_s(server, rows, target_s),
            self._target_ms,
        )
        current: Candidate | None = None
        async with AsyncExitStack() as stack:
            while (trial := search.next()) is not None:
                if not self._time_for(2 * self._warm_up_s + self._most_run_s):
                    self._show.line("time is up: the best so far counts; see --seconds")
                    break
                if trial.candidate != current:
                    await stack.aclose()
                    line = await stack.enter_async_context(self._line(trial.candidate))
                    current = trial.candidate
                    await line.run(self._schedule(_WARM_UP_LOAD * trial.per_s, self._warm_up_s))
                search.tell(trial, await self._once(line, trial))
        if search.best is None:
            raise TargetError(self._out_of_reach(search))
        return search

    async def loads(self, chosen: Candidate, best: Load) -> list[Load]:
        """The chosen settings at parts of the load that they carry, and at all of it."""
        async with self._line(chosen) as line:
            await line.run(self._schedule(_WARM_UP_LOAD * best.per_s, self._warm_up_s))
            seconds = self._warm_up_s + _LEAST_RUN_S
            seen = [await line.run(self._schedule(best.per_s * part, seconds)) for part in _LAST_LOADS]
        return [*seen, best]

    def _line(self, candidate: Candidate) -> Line:
        return Line(self._probe.model, candidate, self._probe.rows)

    async def _once(self, line: Line, trial: Trial) -> Load:
        """A run; a second one where it failed by little, or this machine itself was late."""
        schedule = self._schedule(trial.per_s)
        seen = await line.run(schedule)
        self._show.trial(trial, seen, self._target_ms)
        if seen.doubtful(self._target_ms) and self._time_for(self._warm_up_s + self._most_run_s):
            seen = await line.run(schedule)
            self._show.trial(trial, seen, self._target_ms)
        return seen

    def _time_for(self, seconds: float) -> bool:
        """Whether so long a run leaves enough for the last table."""
        last_s = self._warm_up_s + len(_LAST_LOADS) * (self._warm_up_s + _LEAST_RUN_S)
        return time.monotonic() + seconds + last_s < self._until_s

    def _schedule(self, per_s: float, seconds: float | None = None) -> Schedule:
        warm_up_s = self._warm_up_s
        if seconds is None:
            seconds = warm_up_s + min(max(_FRAMES / per_s, _LEAST_RUN_S), self._most_run_s)
        # At the lowest loads, a frame at least.
        at_s = plan.arrivals(per_s, seconds, self._settings.cameras) or [0.0]
        return Schedule(at_s, warm_up_s, _GIVE_UP_TARGETS * self._target_ms / 1000)

    def _out_of_reach(self, search: Search) -> str:
        said = f"latency_target_ms: nothing is answered within {self._target_ms:g} ms"
        if search.nearest is None:
            return f"{said}; there was no time for a single run: raise --seconds"
        seen, candidate = search.nearest
        return (
            f"{said} on {self._settings.server}; the best was p99 {seen.p99_ms:.0f} ms at {seen.per_s:.1f}"
            f" frames/s ({candidate.text()}): raise --latency-target-ms, or give it a faster server"
        )


def _do_not_wait(why: str) -> None:
    """The worker would wait here."""
    raise UnreachableError(why)
