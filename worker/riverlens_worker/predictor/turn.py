"""When a new batch may be taken: when a server's turn comes, by its dispatch clock. Shell.

Until a batch is taken it grows, so it is taken as late as the device allows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from riverlens_worker.endpoints import Endpoints

_LATE_S = 0.0002
"""What is due so soon is due now: a timer takes as long."""


class Turn:
    """Wakes the predictor when a batch may be taken, or has become full. Writer of its own timer only."""

    def __init__(
        self,
        endpoints: Endpoints,
        wake: asyncio.Event,
        full: Callable[[], bool],
        until_full: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._endpoints = endpoints
        self._wake = wake
        self._full = full
        self._until_full = until_full
        self._timer: asyncio.TimerHandle | None = None

    def has_come(self) -> bool:
        """Whether some server should get the next batch now; else the predictor is woken when one should."""
        now_s = time.monotonic()
        due_s = self._endpoints.due_s(full=self._full())
        if due_s <= now_s + _LATE_S:
            return True
        self._wake_in(due_s - now_s)
        return False

    def await_resume(self, since_s: float) -> None:
        """Wake the predictor when a server that was paused at `since_s`, after an overload, may be asked."""
        self._wake_in(max(0.0, self._endpoints.resumes_s(since_s) - time.monotonic() + _LATE_S))

    def _wake_in(self, seconds: float) -> None:
        self.cancel()
        if seconds != float("inf"):
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)

    async def follow(self) -> None:
        """Look again whenever a batch becomes full, a server comes up or is left out; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_batches())
            group.create_task(self._follow_endpoints())

    def cancel(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _follow_batches(self) -> None:
        while True:
            await self._until_full(True)
            self._wake.set()
            await self._until_full(False)

    async def _follow_endpoints(self) -> None:
        while True:
            seen = self._endpoints.comings
            self._wake.set()
            await self._endpoints.changed.until(lambda seen=seen: self._endpoints.comings != seen)  # type: ignore[misc]  # a default
