"""What a benchmark's run makes of parts that begin slowly, break or hang."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run as bench_run
from benchmarks.line import Line, Workers
from benchmarks.run import Bench, Ways
from benchmarks.scenario import Scenario, chosen, read_scenarios
from benchmarks.stacks.commands import STACKS
from riverlens.broker.ports import free_ports
from riverlens.child import ChildProcess
from riverlens.errors import SetupError

REFUSALS = (
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha",
    b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n",
)
"""Reset at once, half an answer, not ready."""


@asynccontextmanager
async def _starting(refusals: tuple[bytes, ...]) -> AsyncIterator[str]:
    """An admin port that answers well after it has answered with each of `refusals`."""
    left = list(refusals)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = left.pop(0) if left else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        writer.write(said)
        if said:
            writer.close()
        else:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _process(folder: Path, program: str) -> ChildProcess:
    return ChildProcess("worker 1", [sys.executable, "-c", program], folder / "worker.log")


async def test_a_worker_that_resets_the_connection_is_not_ready_yet(tmp_path: Path) -> None:
    """Whatever its port does while the worker begins, the bench asks again until it says that it is ready."""
    process = _process(tmp_path, "import signal; signal.pause()")
    process.start()
    try:
        async with _starting(REFUSALS) as admin:
            await Workers(STACKS["riverlens"], [process], [admin]).wait_ready()
    finally:
        process.end(grace_s=0)


async def test_a_worker_that_ends_is_told_by_what_it_said_last(tmp_path: Path) -> None:
    """In the first line, which is all that the page shows, and without a path of this machine."""
    process = _process(tmp_path, "print('no such model')")
    process.start()
    assert process.wait(60)
    workers = Workers(STACKS["riverlens"], [process], [f"http://127.0.0.1:{free_ports(1)[0]}"])
    with pytest.raises(SetupError) as told:
        await workers.wait_ready()
    assert str(told.value).splitlines()[0] == "worker 1 ended by itself: no such model"


def _smoke() -> Scenario:
    [smoke] = chosen(read_scenarios(), ["smoke"])
    return smoke


async def test_a_stack_that_breaks_is_a_row_that_says_why(tmp_path: Path) -> None:
    """Without Kafka every run breaks; each has a row with one line, and the bench goes on."""
    told: list[str] = []
    rows = await Bench(Line(tmp_path), Ways(told.append)).measure(_smoke())
    assert [(row["scenario"], row["stack"]) for row in rows] == [("smoke", "riverlens")]
    assert len(rows[0]["error"].splitlines()) == 1
    assert any("riverlens broke" in line for line in told)


async def test_a_run_that_hangs_is_left_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its limit; its row says so, and what it waited for was cancelled."""
    ended = asyncio.Event()

    class Hanging(Bench):
        async def _figures(self, *_: Any) -> dict[str, Any]:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            raise AssertionError

    monkeypatch.setattr(bench_run, "limit_s", lambda *_: 0.01)
    [row] = await Hanging(Line(tmp_path), Ways(lambda _: None)).measure(_smoke())
    assert row["error"] == "RiverlensError: not over after 0 s, and left off"
    assert ended.is_set()


async def test_the_first_of_several_errors_is_told(tmp_path: Path) -> None:
    """A group's own text says nothing; an error without a text is told by its kind."""

    class Failing(Bench):
        async def _figures(self, *_: Any) -> dict[str, Any]:
            raise ExceptionGroup("several", [ExceptionGroup("more", [TimeoutError()]), ValueError("x")])

    [row] = await Failing(Line(tmp_path), Ways(lambda _: None)).measure(_smoke())
    assert row["error"] == "TimeoutError"
