"""Says that calls fail, and for how long none has passed. Shell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

_STALLED_S = 5.0
_COMPLAIN_EVERY_S = 2.0


class Complaints:
    """Writes to the log now and then; /readyz hears where nothing passes for a while."""

    def __init__(self, waiting: Callable[[str], None]) -> None:
        """`waiting`: hears why the model server keeps us waiting; "": it does no more."""
        self._waiting = waiting
        self._passed_s = time.monotonic()
        self._complained_s = float("-inf")

    def passed(self) -> None:
        """A call was answered."""
        self._passed_s = time.monotonic()
        self._waiting("")

    def failed(self, server: str, why: str) -> None:
        """A call failed, and is made again."""
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            logger.warning("Predict on %s failed, trying again: %s", server, why)
        if now_s - self._passed_s > _STALLED_S:
            self._waiting(f"{server}: {why}")
