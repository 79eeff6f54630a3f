"""An event loop whose timers are not late by up to a millisecond. Shell.

`epoll_wait` counts in milliseconds, so Python's selector rounds every wait up to the next whole one: a timer
fires half a millisecond late on average, on a loop that has nothing else to do. A batch that leaves just in
time waits for such a timer, and its device stands idle meanwhile.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_MS = 0.001
_LESS_S = 0.000001
"""So much short of a whole millisecond, as a product of floats may lie above it and be rounded up."""
_MOST_DESCRIPTOR = 1023
"""Of `select`. The loop's own is opened at the start, so it is a small number."""

if sys.platform == "linux":

    class PreciseSelector(selectors.EpollSelector):
        """Waits by `epoll`, but the last one or two milliseconds by `select`, which counts in microseconds.

        Returns early, with nothing, between the two: an event loop asks again then.
        """

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """What is ready within `timeout` seconds, None: for ever. May return nothing before that."""
            if timeout is None or timeout <= 0 or self.fileno() > _MOST_DESCRIPTOR:
                return super().select(timeout)
            if timeout >= 2 * _MS:
                # One less than there are, as many a number of them is rounded up once more on its way.
                return super().select((int(timeout / _MS) - 1) * _MS - _LESS_S)
            # An epoll descriptor is readable while one of those that it watches is ready.
            select.select([self.fileno()], (), (), timeout)
            return super().select(0)

else:  # the others count in microseconds at least
    PreciseSelector = selectors.DefaultSelector


def run_precisely(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` as `asyncio.run` does; timers of milliseconds are late by about a tenth of one."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(PreciseSelector())) as runner:
        return runner.run(main)
