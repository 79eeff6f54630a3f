"""Runs what a search asks for, one candidate's line after the other. Shell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from riverlens.errors import RiverlensError
from riverlens_worker.model import ServedModel
from riverlens_worker.target import Row
from riverlens_worker.tune import plan
from riverlens_worker.tune.choice import Load, Search, Trial
from riverlens_worker.tune.load import Line, Schedule
from riverlens_worker.tune.plan import Candidate
from riverlens_worker.tune.settings import TuneSettings
from riverlens_worker.tune.show import Show

_WARM_UP_S = 1.0
_WARM_UP_TARGETS = 4
_WARM_UP_LOAD = 0.6
_LEAST_RUN_S, _MOST_RUN_S = 1.5, 3.0
_LEAST_RUN_SHARE, _MOST_RUN_SHARE = 0.02, 0.05
"""Of the whole time, for one run."""
_LONGEST_RUN_S = 7.5
_FRAMES = 1500
_LAST_LOADS = (0.3, 0.6, 0.9)
_GIVE_UP_TARGETS = 3.0


class TargetError(RiverlensError):
    """No settings reach the latency target; says the best that was reached."""


class Runner:
    """Sends one model's frames under loads, with one candidate's settings after the other.

    Args:
        model: as it was discovered.
        rows: what is sent, in turn.
        settings: the target, the cameras, the time in all.
        began_s: when that time began (monotonic).
        show: gets a line for each run.
    """

    def __init__(
        self, model: ServedModel, rows: Sequence[Row], settings: TuneSettings, began_s: float, show: Show
    ) -> None:
        self._model = model
        self._rows = rows
        self._settings = settings
        self._until_s = began_s + settings.seconds
        self._show = show
        self._target_ms = settings.latency_target_ms
        # The dispatch clock needs a few calls, and batches some more until they have their usual size.
        self._warm_up_s = max(_WARM_UP_S, _WARM_UP_TARGETS * self._target_ms / 1000)
        least_s = max(_LEAST_RUN_S, _LEAST_RUN_SHARE * settings.seconds)
        self._least_run_s = min(least_s, _MOST_RUN_S)
        self._most_run_s = min(max(_MOST_RUN_S, _MOST_RUN_SHARE * settings.seconds), _LONGEST_RUN_S)

    async def drive(self, search: Search) -> None:
        """Run what the search asks for, while there is time.

        Raises:
            TargetError: nothing was within the target.
            RiverlensError: the model server went away, or refuses.
        """
        current: Candidate | None = None
        async with AsyncExitStack() as stack:
            while (trial := search.next()) is not None:
                if not self._time_for_more(search):
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

    async def loads(self, chosen: Candidate, best: Load) -> list[Load]:
        """The chosen settings at parts of the load that they carry, while there is time, and at all of it."""
        seconds = self._warm_up_s + self._least_run_s
        seen: list[Load] = []
        async with self._line(chosen) as line:
            await line.run(self._schedule(_WARM_UP_LOAD * best.per_s, self._warm_up_s))
            for part in _LAST_LOADS:
                if time.monotonic() > self._until_s:
                    break
                seen.append(await line.run(self._schedule(best.per_s * part, seconds)))
        return [*seen, best]

    def _line(self, candidate: Candidate) -> Line:
        return Line(self._model, candidate, self._rows)

    async def _once(self, line: Line, trial: Trial) -> Load:
        """A run; a second one where it failed by little, or this machine itself was late."""
        schedule = self._schedule(trial.per_s)
        seen = await line.run(schedule)
        self._show.trial(trial, seen, self._target_ms)
        if seen.doubtful(self._target_ms) and self._time_for(self._warm_up_s + self._most_run_s):
            seen = await line.run(schedule)
            self._show.trial(trial, seen, self._target_ms)
        return seen

    def _time_for_more(self, search: Search) -> bool:
        if search.best is None:
            # There is nothing to write yet: as much time again is worth it.
            return time.monotonic() < self._until_s + self._settings.seconds
        return self._time_for(2 * self._warm_up_s + self._most_run_s)

    def _time_for(self, seconds: float) -> bool:
        """Whether so long a run leaves enough for the last table."""
        last_s = self._warm_up_s + len(_LAST_LOADS) * (self._warm_up_s + self._least_run_s)
        return time.monotonic() + seconds + last_s < self._until_s

    def _schedule(self, per_s: float, seconds: float | None = None) -> Schedule:
        warm_up_s = self._warm_up_s
        if seconds is None:
            seconds = warm_up_s + min(max(_FRAMES / per_s, self._least_run_s), self._most_run_s)
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
