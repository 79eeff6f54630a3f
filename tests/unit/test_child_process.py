"""The guard between riverlens and Kafka, with other programs in Kafka's place."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from riverlens.child import ChildProcess


def _node(tmp_path: Path, script: str, doomed: Path | None = None) -> ChildProcess:
    return ChildProcess("test child", ["/bin/sh", "-c", script], tmp_path / "log", doomed)


def _wait_for_end(pid: int, timeout_s: float = 10) -> bool:
    """Whether a process that is not our child ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def test_exit_and_output_are_seen(tmp_path: Path) -> None:
    """The end of the program ends the guard, and what it printed is in the log."""
    node = _node(tmp_path, "echo out; echo err >&2; exit 3")
    node.start()
    assert node.wait(10)
    assert not node.running
    assert not node.stopped_well
    assert node.log_tail(5) == ["out", "err"]


def test_log_tail_begins_with_the_last_start(tmp_path: Path) -> None:
    """Lines of an earlier run are kept in the file and left out of the tail."""
    node = _node(tmp_path, "echo $$")
    for _ in range(2):
        node.start()
        assert node.wait(10)
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert node.log_tail(5) == [str(node.pid)]


def test_end_kills_what_ignores_sigterm(tmp_path: Path) -> None:
    """After the grace time SIGKILL follows."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    node = _node(tmp_path, f"trap '' TERM; echo up > {fifo}; exec sleep 60")
    node.start()
    assert fifo.read_text() == "up\n"
    node.end(grace_s=0.2)
    assert not node.running


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    """SIGTERM reaches a process that SIGSTOP holds, because `end` wakes it first."""
    node = _node(tmp_path, "exec sleep 60")
    node.start()
    node.signal("STOP")
    node.end(grace_s=10)
    assert not node.running


def test_signals_to_an_ended_process_do_nothing(tmp_path: Path) -> None:
    """A fault test may kill what is dead already."""
    node = _node(tmp_path, "exit 0")
    node.start()
    assert node.wait(10)
    node.signal("KILL")
    node.end(grace_s=1)


def test_starting_twice_is_a_mistake(tmp_path: Path) -> None:
    """A node owns one process."""
    node = _node(tmp_path, "exec sleep 60")
    node.start()
    with pytest.raises(RuntimeError, match="runs already"):
        node.start()
    node.end(grace_s=0)


def test_the_thread_that_started_it_may_end(tmp_path: Path) -> None:
    """The kernel's parent-death signal counts threads; ours must not kill a broker started in a pool."""
    node = _node(tmp_path, "exec sleep 60")
    starter = threading.Thread(target=node.start)
    starter.start()
    starter.join()
    assert not node.wait(0.3)
    node.end(grace_s=0)


_PARENT = """
import sys
from pathlib import Path
from riverlens.child import ChildProcess
folder = Path(sys.argv[1])
node = ChildProcess("test child", ["/bin/sleep", "60"], folder / "log", folder)
node.start()
print(node.pid, node._guard.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", ["riverlens", "guard"])
def test_the_program_dies_with_either_parent(tmp_path: Path, killed: str) -> None:
    """Kill -9 of riverlens or of the guard ends the program; the guard also removes temporary data."""
    folder = tmp_path / "doomed"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child, guard = map(int, parent.stdout.readline().split())
        os.kill(parent.pid if killed == "riverlens" else guard, signal.SIGKILL)
        assert _wait_for_end(child)
        assert _wait_for_end(guard)
        assert folder.exists() == (killed == "guard")
        parent.kill()
