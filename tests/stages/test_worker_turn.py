"""What wakes the predictor, with real servers that come and go, and what it tells the clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from prometheus_client import CollectorRegistry

from riverlens_worker.channel import Signal
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.expectation import Call
from riverlens_worker.metrics import Metrics
from riverlens_worker.predictor.turn import Turn
from riverlens_worker.settings import WorkerSettings
from tests.harness.predicting import predicting
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


@pytest.mark.parametrize("spared_rows", [None, 7])
async def test_the_clock_is_told_of_each_call(spared_rows: int | None) -> None:
    """Which calls could not have grown, those beside a backlog among them; when each had its first frame."""
    server = ScriptedServer()
    await server.start()
    settings = WorkerSettings(server=server.address, max_batch_size=8)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        line = await stack.enter_async_context(predicting(settings))
        line.spared_rows = spared_rows
        clock = line.endpoints.up[0].load.clock
        started, told, ready_s = clock.started, set[tuple[int, bool]](), dict[float, int]()

        def noted(call: Call, before: Sequence[Call], *, full: bool) -> None:
            told.add((call.rows, full))
            ready_s[call.ready_s] = call.rows
            started(call, before, full=full)

        clock.started = noted  # type: ignore[method-assign]  # looked through
        await line.send([b"frame"] * 100)
        await line.until(lambda: len(line.answered) == 100, "all answers")
    line.check()
    most = spared_rows or 8
    assert (most, True) in told
    assert all(rows >= most for rows, full in told if full), told
    # Frames are numbered by when they came, so each call begins where another ended.
    assert set(ready_s) == {first + rows for first, rows in ready_s.items() if first + rows < 100} | {0.0}
