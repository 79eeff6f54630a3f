"""What wakes the predictor, with real servers that come and go."""

from __future__ import annotations

import asyncio
import math

import pytest
from prometheus_client import CollectorRegistry

from riverlens_worker.channel import Signal
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.metrics import Metrics
from riverlens_worker.predictor.turn import Turn
from riverlens_worker.settings import WorkerSettings
from tests.harness.scripted_server import ScriptedServer


async def _never(full: bool) -> None:  # noqa: FBT001  # the port's one question
    """No batch ever becomes full."""
    await Signal().until(lambda: not full)


async def test_a_server_left_out_and_back_wakes() -> None:
    """A server that goes and returns is noticed each time, though then as many are up as before."""
    server = ScriptedServer()
    await server.start()
    settings = WorkerSettings(server=server.address)
    endpoints, wake = Endpoints(settings, Metrics(CollectorRegistry())), asyncio.Event()
    turn = Turn(endpoints, wake, lambda: False, _never)
    await endpoints.wait_available(lambda _: None)
    tasks = [
        asyncio.create_task(endpoints.keep(lambda _: None)),
        asyncio.create_task(turn.follow()),
    ]
    try:
        for _ in range(3):
            wake.clear()
            (endpoint,) = endpoints.up
            endpoint.ejections = 0
            endpoints.eject(endpoint, "a test")
            assert math.isinf(endpoints.due_s(full=True))
            async with asyncio.timeout(60):
                await wake.wait()
                wake.clear()
                while not endpoint.up:
                    await wake.wait()
                    wake.clear()
            assert turn.has_come()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        turn.cancel()
        await endpoints.close()
        await server.stop()


async def test_a_pause_that_ended_while_looking_is_not_missed() -> None:
    """A server whose pause ended after room was looked for wakes the predictor at once, and then no more."""
    settings = WorkerSettings(server="127.0.0.1:1")
    endpoints, wake = Endpoints(settings, Metrics(CollectorRegistry())), asyncio.Event()
    turn = Turn(endpoints, wake, lambda: False, _never)
    (endpoint,) = endpoints
    endpoint.up = True
    now_s = asyncio.get_running_loop().time()
    endpoint.load._paused_until_s = now_s - 0.001
    turn.await_resume(now_s - 0.002)
    async with asyncio.timeout(60):
        await wake.wait()
    assert endpoints.resumes_s(now_s) == pytest.approx(math.inf)
    turn.cancel()
    await endpoints.close()
