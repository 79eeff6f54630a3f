"""Calls to one model server, as the worker sends them: one at a time, and many at once. Shell."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from riverlens.errors import RiverlensError, UnreachableError
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.errors import Action, Limit, ModelError, decide
from riverlens_worker.limits import CallLimits
from riverlens_worker.model import ServedModel
from riverlens_worker.predict_request import predict_request
from riverlens_worker.target import Row
from riverlens_worker.tune.cost import CallTimes, busy_devices, whole_devices

_ROUNDS = 5
_ROUNDS_LEAST = 3
_TOGETHER_S = 1.5
_TOGETHER_CALLS = 8
_FIRST_CALLS = 4

Tell = Callable[[str], None]


class _TooMuchError(Exception):
    """A call held too much; the limits know now what fits."""


@dataclass(slots=True)
class Probe:
    """One server, asked directly.

    Attributes:
        limits: what a call may hold, as the server's refusals taught.
        times: of calls one at a time.
    """

    endpoint: Endpoint
    model: ServedModel
    rows: Sequence[Row]
    limits: CallLimits
    times: CallTimes = field(default_factory=CallTimes)

    async def one_by_one(self, sizes: Sequence[int], target_s: float, budget_s: float) -> None:
        """Time each size in turn, again and again: what disturbs for a while disturbs all sizes alike.

        The first round goes up until a call takes longer than the target, or holds too much.

        Raises:
            RiverlensError: the server is away, or refuses.
        """
        until_s = time.monotonic() + budget_s
        kept: list[int] = []
        queue = list(sizes)
        while queue:
            rows = queue.pop(0)
            try:
                seconds = await self.call(rows)
            except _TooMuchError:
                most = self.limits.current().rows
                # The limit itself is worth a try; what is above it is not.
                queue = [] if most in kept else [most]
                continue
            self.times.add(rows, seconds)
            if seconds > target_s:
                # A first call may be slow for the sake of its being the first.
                seconds = await self.call(rows)
                self.times.add(rows, seconds)
            kept.append(rows)
            if seconds > target_s or time.monotonic() > until_s:
                break
        for number in range(_ROUNDS):
            if number >= _ROUNDS_LEAST and time.monotonic() > until_s:
                break
            for rows in kept:
                self.times.add(rows, await self.call(rows))

    async def devices(self, rows: int, most_calls: int) -> int:
        """How many calls the server works on at once, found by having ever more under way.

        Calls are of unlike sizes: on several devices they then end apart, merged ones still together.
        """
        calls, found = min(_FIRST_CALLS, most_calls), 1
        while True:
            answers = await self._keep_under_way(calls, rows)
            if answers is None:
                return found
            found = max(found, whole_devices(busy_devices(answers, self.times.fit.seconds), calls))
            if found < calls - 1 or calls >= most_calls:
                return found
            calls = min(2 * calls, most_calls)

    async def warm_up(self, most: int) -> None:
        """A call of every size up to `most`: load runs meet them all."""
        for rows in range(1, most + 1):
            await self.call(rows)

    async def call(self, rows: int) -> float:
        """Seconds of one call of `rows` rows.

        Raises:
            RiverlensError: the server is away, or refuses.
        """
        batch = [self.rows[number % len(self.rows)].row for number in range(rows)]
        request = predict_request(self.model.settings.model, self.model.layout, batch)
        began_s = time.monotonic()
        try:
            await self.endpoint.predict(request, self.model.settings.predict_timeout_ms / 1000)
        except CallFailedError as error:
            raise self._why(error, rows) from None
        return time.monotonic() - began_s

    def _why(self, error: CallFailedError, rows: int) -> Exception:
        verdict, server = decide(error.code, error.details), self.endpoint.server
        if verdict.action is Action.SPLIT and rows > 1:
            if verdict.limit is Limit.ROWS and verdict.max_rows is not None:
                self.limits.refused_rows(verdict.max_rows)
            else:
                self.limits.refused_rows(max(1, int(rows * min(verdict.fraction, 0.9))))
            return _TooMuchError()
        if verdict.action is Action.OVERLOAD:
            return OverloadedError(f"the model server at {server} refuses: {verdict.why}")
        if verdict.passes:
            return UnreachableError(f"the model server at {server} fails under load: {verdict.why}")
        return ModelError(f"the model server at {server} refuses a call of {rows} rows: {verdict.why}")

    async def _keep_under_way(self, calls: int, rows: int) -> list[tuple[float, int]] | None:
        """(when, rows) of each answer; None where the server does not bear so many calls."""
        answers: list[tuple[float, int]] = []
        once_s = self.times.fit.seconds(rows) or 0.0
        until_s = time.monotonic() + max(_TOGETHER_S, _TOGETHER_CALLS * once_s)
        fixed = self.model.layout.rows is not None

        async def keep(dice: random.Random) -> None:
            while time.monotonic() < until_s:
                size = rows if fixed else dice.randint(rows // 2 + 1, rows)
                await self.call(size)
                answers.append((time.monotonic(), size))

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(calls):
                    group.create_task(keep(random.Random(number)))  # noqa: S311  # repeatable on purpose
        except ExceptionGroup as errors:
            error = errors.exceptions[0]
            if isinstance(error, OverloadedError):
                return None
            raise error from None
        # While the last calls end, fewer are under way.
        return [answer for answer in answers if answer[0] <= until_s]


class OverloadedError(RiverlensError):
    """So many calls at once are refused."""
