"""CPU and memory of processes, from /proc. Shell.

A stack is a tree of processes: what a process's children cost, ended ones included, is its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.observed import Usage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def usage(pids: Sequence[int]) -> Usage:
    """CPU and memory of these processes and all below them; ended ones count as nothing."""
    cpu_s, rss = 0.0, 0
    for pid in below(pids):
        try:
            # The name, in brackets, may hold anything.
            fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        # proc(5): utime, stime, cutime, cstime are 14 to 17, rss is 24; the first two are cut off.
        cpu_s += sum(int(field) for field in fields[11:15]) / _TICKS
        rss += int(fields[21]) * _PAGE
    return Usage(time.time(), cpu_s, rss, machine_cpu_s())


def machine_cpu_s() -> float:
    """CPU seconds that processes of this machine, or its host, have used since its start, all cores together.

    Without interrupts: those of the loopback are the measurement's own, and no process is charged for them.
    """
    words = (_PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    # proc(5): user nice system idle iowait irq softirq steal; guests are within user.
    return sum(int(word) for place, word in enumerate(words[:8]) if place in {0, 1, 2, 7}) / _TICKS


def below(pids: Sequence[int]) -> list[int]:
    """These processes and all that they or theirs have started, as far as they still run."""
    found: list[int] = []
    left = list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        try:
            tasks = list((_PROC / str(pid) / "task").iterdir())
            for task in tasks:
                left += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue  # it has ended meanwhile
    return found


def peak_rss_bytes(pids: Sequence[int]) -> int:
    """The most resident memory that these processes ever had, each by itself; without their children."""
    total = 0
    for pid in pids:
        try:
            text = (_PROC / str(pid) / "status").read_text(encoding="ascii")
        except OSError:
            continue  # it has ended meanwhile
        total += int(text.partition("VmHWM:")[2].split()[0]) * 1024
    return total
