"""The event loop's lateness, on a real loop that something keeps busy."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from prometheus_client import CollectorRegistry

from riverlens_worker.loop_lag import LoopLag
from riverlens_worker.metrics import Metrics

BUSY_S = 1.7


def _busy() -> None:
    until_s = time.thread_time() + BUSY_S
    while time.thread_time() < until_s:
        pass


class _Told(logging.Handler):
    """Sets an event at the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.line = ""
        self.told = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.line = record.getMessage()
        self.told.set()


async def test_a_step_that_keeps_the_loop_is_measured_and_told(request: pytest.FixtureRequest) -> None:
    """A step of more than a second shows in the histogram, and one line says how late the loop was."""
    handler = _Told()
    logger = logging.getLogger("riverlens_worker.loop_lag")
    logger.addHandler(handler)
    request.addfinalizer(lambda: logger.removeHandler(handler))
    registry = CollectorRegistry()
    measuring = asyncio.create_task(LoopLag(Metrics(registry)).run())
    await asyncio.sleep(0)
    _busy()
    async with asyncio.timeout(60):
        await handler.told.wait()
    measuring.cancel()
    assert handler.line.startswith("the event loop was ")
    assert (registry.get_sample_value("riverlens_loop_lag_seconds_sum") or 0) > 1
