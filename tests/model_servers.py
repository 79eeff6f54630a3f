"""The embedded model server as a child process of a test."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from riverlens_serving.server import Server

_HTTP = "HTTP on "
_READY = "listening on "
_PATIENCE_S = 60.0
_POLL_S = 0.005


def wait_for(condition: Callable[[], bool]) -> None:
    """Block until `condition()` holds; fail after a minute."""
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited {_PATIENCE_S:.0f} s in vain"
        threading.Event().wait(_POLL_S)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers at `address`; its log goes to the file `log`."""

    address: str
    process: subprocess.Popen[str]
    log: Path
    rest_address: str = ""


def start(log: Path, *flags: str) -> subprocess.Popen[str]:
    """Start a server on a free port, without waiting for it. `flags` as on its command line."""
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "riverlens", "serving", "run", "--port=auto", "--die_with_parent", *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def wait_ready(process: subprocess.Popen[str], log: Path) -> RunningServer:
    """Block until the server says that it listens, or fail with its log if it ends before."""
    rest = ""
    for line in _stdout(process):
        if line.startswith(_HTTP):
            rest = line.removeprefix(_HTTP).strip()
        if line.startswith(_READY):
            return RunningServer(line.removeprefix(_READY).strip(), process, log, rest)
    raise AssertionError(f"the model server ended with {process.wait()}:\n{log.read_text()}")


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def stop(process: subprocess.Popen[str]) -> int:
    """SIGTERM, then wait; the exit code."""
    process.terminate()
    with _stdout(process):
        return process.wait()


@contextmanager
def model_server(log: Path, *flags: str) -> Iterator[RunningServer]:
    """A server that is ready; stopped at the end."""
    process = start(log, *flags)
    try:
        yield wait_ready(process, log)
    finally:
        stop(process)


def start_inside(stack: ExitStack, *flags: str) -> Server:
    """A server inside this process, on free ports and quick to look again; stopped when `stack` ends."""
    from riverlens_serving.flags import parse  # noqa: PLC0415  # most users of this module start processes
    from riverlens_serving.server import Server  # noqa: PLC0415  # imports TensorFlow

    quick = ("--port=auto", "--file_system_poll_wait_seconds=0.05", "--max_num_load_retries=0")
    options = parse((*quick, *flags), "serve")
    assert options is not None
    server = Server(options, threading.Event())
    stack.callback(server.stop)
    server.start()
    return server


def address(server: Server) -> str:
    """Where such a server answers gRPC."""
    return f"127.0.0.1:{server.port}"
