"""A child process that ends with this one, behind its guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from riverlens.errors import SetupError

_GUARD = Path(__file__).with_name("guard.py")
_LAST_BYTES = 64 * 1024


class ChildProcess:
    """A program that dies with this process. One user thread at a time.

    Args:
        name: what people call it, for error messages.
        command: the whole command line.
        log: file that gets what it prints, appended.
        doomed: folder to remove should this process die before the child; None keeps all.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, doomed: Path | None = None) -> None:
        self.name = name
        self.log = log
        self.temporary = doomed is not None
        self.pid: int | None = None
        self._command = command
        self._doomed = doomed
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the process exists; paused counts as running."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def stopped_well(self) -> bool:
        """Whether the process ended by SIGTERM as Java does it (exit code 143), or by itself with 0."""
        return self._guard is not None and self._guard.poll() in {0, 128 + signal.SIGTERM}

    def start(self) -> None:
        """Start the process and return at once; it is not ready yet.

        Raises:
            SetupError: the operating system did not start it.
        """
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(self.log)]
        # A session of its own: Ctrl-C is for us, and we stop our children in our order.
        self._guard = subprocess.Popen(  # noqa: S603  # this Python and our own file
            [*guard, str(self._doomed or ""), *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._guard.stdout is not None  # noqa: S101  # asked for with PIPE
        word = self._guard.stdout.readline()
        if not word:
            self.wait(5)
            raise SetupError(f"{self.name} did not start; tried: {self._command[0]}")
        self.pid = int(word)

    def signal(self, word: str) -> None:
        """Send TERM, KILL, STOP or CONT; nothing happens where the process has ended."""
        if self._guard is None or self._guard.stdin is None or self._guard.stdin.closed:
            return
        try:
            self._guard.stdin.write(f"{word}\n".encode())
            self._guard.stdin.flush()
        except BrokenPipeError:  # it has just ended by itself
            return

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended; False where it has not within `timeout_s` seconds."""
        if self._guard is None:
            return True
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._close_pipes()
        return True

    def end(self, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s` seconds; 0 kills at once. Returns when it has ended."""
        if grace_s > 0:
            self.signal("CONT")
            self.signal("TERM")
            if self.wait(grace_s):
                return
        self.signal("KILL")
        if not self.wait(10):
            raise SetupError(f"{self.name} (pid {self.pid}) outlived SIGKILL; its disk may hang")

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log since its last start."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _LAST_BYTES))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return text.splitlines()[-lines:]

    def _close_pipes(self) -> None:
        assert self._guard is not None  # noqa: S101  # callers have started it
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:  # a word that the guard did not live to read
                    continue
