"""How much one call may hold, as the server's refusals teach it. Pure."""

from __future__ import annotations

from riverlens_worker.batching import Limits

_RECOVER_CALLS = 20


class CallLimits:
    """The settings' limits, and what was learnt since. Writer: Predictor alone.

    A limit that the server named stays. One that memory set grows back: the device's memory is shared, and
    who filled it may be gone. One that poison set is given anew whenever it changes.
    """

    def __init__(self, most: Limits) -> None:
        self._most = most
        self._rows = most.rows
        self._nbytes = most.nbytes
        self._memory_rows = most.rows
        self._group_rows = most.rows
        self._passes = 0

    def current(self) -> Limits:
        """The most that the next call may hold; never less than one row and one byte."""
        return Limits(min(self._rows, self._memory_rows, self._group_rows), self._nbytes)

    @property
    def ungrouped_rows(self) -> int:
        """The most rows a call may hold, were it not for poison."""
        return min(self._rows, self._memory_rows)

    def refused_rows(self, most: int) -> None:
        """The server takes at most `most` rows, for good."""
        self._rows = max(1, min(self._rows, most))

    def refused_bytes(self, most: int) -> None:
        """Frames of more than `most` bytes in all do not go through, for good."""
        self._nbytes = max(1, min(self._nbytes, most))

    def ran_out_of_memory(self, rows: int) -> None:
        """A call of `rows` rows was too much: half of it from now on."""
        self._memory_rows = max(1, min(self._memory_rows, rows // 2))
        self._passes = 0

    def passed(self, rows: int) -> bool:
        """A call was answered; whether a limit grew. One row more after every 20 calls at the limit."""
        if self._memory_rows >= self._rows or rows < self._memory_rows:
            return False
        self._passes += 1
        if self._passes < _RECOVER_CALLS:
            return False
        self._passes = 0
        self._memory_rows += 1
        return True

    def group(self, rows: int) -> bool:
        """Poison makes calls of `rows` rows the cheapest; whether that is new."""
        changed = rows != self._group_rows
        self._group_rows = max(1, rows)
        return changed
