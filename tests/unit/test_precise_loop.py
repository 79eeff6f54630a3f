"""The event loop's timers: never early nor late by a millisecond; what is ready wakes it at once."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import time
from statistics import median

import pytest

from riverlens.precise_loop import PreciseSelector, run_precisely
from riverlens_worker import run
from riverlens_worker.settings import WorkerSettings

_TRIES = 50


async def _late_s(after_s: float) -> float:
    """How late a timer fires on a loop that has nothing else to do."""
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[float] = loop.create_future()
    due_s = loop.time() + after_s
    loop.call_at(due_s, lambda: fired.set_result(loop.time()))
    return await fired - due_s


@pytest.mark.parametrize("after_s", [0.0001, 0.0015, 0.0023, 0.0095, 0.0135])
def test_a_timer_is_not_late_by_a_millisecond(after_s: float) -> None:
    """On an idle machine one of fifty tries is on time, whatever part of a millisecond it ends in."""
    late_s = [run_precisely(_late_s(after_s)) for _ in range(_TRIES)]
    assert min(late_s) < 0.0004
    assert min(late_s) > -0.000001


@pytest.mark.skipif(sys.platform != "linux", reason="only epoll counts in milliseconds")
def test_the_ordinary_loop_is_late() -> None:
    """What the module is for: as soon as this fails, Python does it by itself."""
    assert median(asyncio.run(_late_s(0.0003)) for _ in range(_TRIES)) > 0.0005


@pytest.mark.parametrize("timeout_s", [None, 30.0, 0.0009, 0.0])
def test_what_is_ready_ends_every_wait(timeout_s: float | None) -> None:
    """A descriptor that can be read is reported, whichever way the wait is done."""
    ours, theirs = socket.socketpair()
    with ours, theirs, PreciseSelector() as selector:
        key = selector.register(ours, 1)
        assert not selector.select(0.0009)
        theirs.send(b"x")
        took_s = []
        for _ in range(_TRIES):
            started_s = time.monotonic()
            assert selector.select(timeout_s) == [(key, 1)]
            took_s.append(time.monotonic() - started_s)
        assert min(took_s) < 0.0004


def test_another_thread_wakes_it_before_a_timer() -> None:
    """A thread's call ends a long wait, as a decode thread's does."""

    async def woken_after_s() -> float:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        started_s = time.monotonic()
        threading.Timer(0.01, lambda: loop.call_soon_threadsafe(woken.set)).start()
        async with asyncio.timeout(30):
            await woken.wait()
        return time.monotonic() - started_s

    assert run_precisely(woken_after_s()) < 10


def test_it_passes_on_what_its_program_returns_or_raises() -> None:
    """As `asyncio.run` does."""

    async def failing() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_precisely(failing())


def test_a_worker_runs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`riverlens worker run` has timers that are on time."""
    late_s: list[float] = []

    async def ran(_: WorkerSettings) -> None:
        late_s.extend([await _late_s(0.0001) for _ in range(_TRIES)])

    monkeypatch.setattr(run, "run_worker", ran)
    monkeypatch.setattr(run, "set_up_logs", lambda *_: None)
    monkeypatch.setattr(run, "load", lambda *_, **__: WorkerSettings())
    monkeypatch.setattr(run, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    assert run.main([], "riverlens worker run") == 0
    assert min(late_s) < 0.0004
