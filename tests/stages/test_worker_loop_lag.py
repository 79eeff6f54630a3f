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


async def test_a_step_that_keeps_the_loop_is_measured_and_told(caplog: pytest.LogCaptureFixture) -> None:
    """A step of more than a second shows in the histogram, and one line says that it was a step of ours."""
    registry = CollectorRegistry()
    measuring = asyncio.create_task(LoopLag(Metrics(registry)).run())
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING):
        _busy()
        async with asyncio.timeout(10):
            while not caplog.messages:
                await asyncio.sleep(0)
    measuring.cancel()
    (line,) = caplog.messages
    assert line.startswith("the event loop was ")
    assert "one step of the worker itself" in line
    assert (registry.get_sample_value("riverlens_loop_lag_seconds_sum") or 0) > 1
