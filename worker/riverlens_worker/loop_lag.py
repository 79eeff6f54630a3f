"""How late the event loop is: a task that wants to run every half second, and measures. Shell.

While one thing keeps the loop busy nothing else moves: no heartbeat, no poll, no call.
"""

from __future__ import annotations

import asyncio
import logging
import time

from riverlens_worker.metrics import Metrics

logger = logging.getLogger(__name__)

_TICK_S = 0.5
_TELL_S = 1.0
_MOSTLY = 0.6


def likely_cause(late_s: float, loop_cpu_s: float, other_cpu_s: float) -> str:
    """What most probably kept the loop, by the CPU time that its thread and the others had meanwhile.

    Linux counts the time of a stopped process (SIGSTOP, a paused container) as nobody's.
    """
    if loop_cpu_s >= _MOSTLY * late_s:
        return "one step of the worker itself took that long: very large images, replies or events"
    if loop_cpu_s + other_cpu_s >= _MOSTLY * late_s:
        return "the decoding threads had the processor; see decode_threads"
    return "the process got no processor: it was stopped or paused, or the machine is overloaded"


class LoopLag:
    """Observes `riverlens_loop_lag_seconds`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began_s, thread_s, process_s = time.monotonic(), time.thread_time(), time.process_time()
            await asyncio.sleep(_TICK_S)
            late_s = max(0.0, time.monotonic() - began_s - _TICK_S)
            self._metrics.loop_lag.observe(late_s)
            if late_s > _TELL_S:
                loop_cpu_s = time.thread_time() - thread_s
                other_cpu_s = time.process_time() - process_s - loop_cpu_s
                logger.warning(
                    "the event loop was %.1f s late: %s",
                    late_s,
                    likely_cause(late_s, loop_cpu_s, other_cpu_s),
                )
