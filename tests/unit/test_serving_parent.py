"""Ending with the parent process."""

from __future__ import annotations

import subprocess
import sys

_CHILD = """
import threading
from riverlens_serving.parent import watch_parent
gone = threading.Event()
watch_parent(gone.set)
print("watching", flush=True)
gone.wait(20)
print("parent gone", flush=True)
"""
_PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
sys.stdin.read()
"""


def test_a_child_learns_that_its_parent_was_killed() -> None:
    """`watch_parent` calls back after the parent's SIGKILL, which runs no clean-up of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "watching\n"
        parent.kill()
        assert parent.stdout.readline() == "parent gone\n"
