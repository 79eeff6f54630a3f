"""Takes out what goes stale while nothing moves. Shell.

In ordinary times stale frames go when their turn comes. While the model server is away no turn comes: what
has gone stale by then would hold its partition's room and order, so that newer frames would stay on Kafka.
Swept out, a partition of live cameras is read on, and is live when the server comes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from riverlens_worker.messages import Rejected

_EVERY_S = 0.2

Sweep = Callable[[float], Sequence[Rejected]]


class Sweeper:
    """Asks every stage for its stale frames, a few times a second; until cancelled."""

    def __init__(self, sweeps: Sequence[Sweep], pass_by: Callable[[Sequence[Rejected]], None]) -> None:
        """`sweeps`: each removes and returns a stage's stale frames; `pass_by` takes them on."""
        self._sweeps = sweeps
        self._pass_by = pass_by

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.once(time.monotonic())

    def once(self, now_s: float) -> None:
        """Sweep now."""
        gone = [each for sweep in self._sweeps for each in sweep(now_s)]
        if gone:
            self._pass_by(gone)
