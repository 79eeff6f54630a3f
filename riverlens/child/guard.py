"""The process between riverlens and one child: it ends the child when riverlens is gone, however it went.

Run as `python -I -S guard.py PARENT_PID LOG DOOMED_DIR COMMAND...`, with a pipe as standard input.

    in:   one word a line, a signal for the child: TERM, KILL, STOP, CONT
    out:  the child's pid, one line
    exit: the child's exit code, 128 + n where signal n ended it

The end of the input, or another parent than PARENT_PID, means that riverlens is gone: the child is killed
and DOOMED_DIR (unless empty) removed. The kernel kills the child should the guard itself be killed; that
needs a parent of one thread, because the kernel counts the thread that forked as the parent, and is
why riverlens, which has threads, does not do it itself. Imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_AT_PARENT_S = 1.0
_SIGNALS = {
    b"TERM": signal.SIGTERM,
    b"KILL": signal.SIGKILL,
    b"STOP": signal.SIGSTOP,
    b"CONT": signal.SIGCONT,
}


def main(argv: list[str]) -> int:
    """Run the command until it ends or riverlens does; returns the exit code described above."""
    parent, log, doomed, command = int(argv[0]), argv[1], argv[2], argv[3:]
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with open(log, "ab", buffering=0) as sink:  # noqa: PTH123  # pathlib costs 10 ms of a start
        child = subprocess.Popen(  # noqa: S603  # riverlens gave the command
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_me(),  # noqa: PLW1509  # this process has one thread
        )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    if not _until_either_ends(child, parent, woken):
        child.kill()
        child.wait()
        if doomed:
            shutil.rmtree(doomed, ignore_errors=True)
    code = child.returncode
    return code if code >= 0 else 128 - code


def _until_either_ends(child: subprocess.Popen[bytes], parent: int, woken: int) -> bool:
    """Pass signals on until the child has ended (True) or riverlens is gone (False)."""
    words = b""
    while child.poll() is None:
        if os.getppid() != parent:
            return False
        readable, _, _ = select.select([0, woken], [], [], _LOOK_AT_PARENT_S)
        if woken in readable:
            os.read(woken, 64)
        if 0 in readable:
            got = os.read(0, 256)
            if not got:
                return child.poll() is not None
            *whole, words = (words + got).split(b"\n")
            for word in whole:
                child.send_signal(_SIGNALS[word])
    return True


def _die_with_me() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    guard = os.getpid()

    def ask_the_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)

    return ask_the_kernel


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
