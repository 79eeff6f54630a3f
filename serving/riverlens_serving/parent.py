"""Ending with the process that started us, on any system with process ids."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

_CHECK_S = 0.5


def watch_parent(gone: Callable[[], None]) -> None:
    """Call `gone` once, on a thread, when the present parent process has ended.

    The parent's id is compared rather than Linux's death signal used: that one follows the parent's thread,
    and a parent that starts us from a thread pool would end us by accident.
    """
    parent = os.getppid()

    def watch() -> None:
        idle = threading.Event()
        while os.getppid() == parent:
            idle.wait(_CHECK_S)
        gone()

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
