"""Whether slots are devices, or a window into a server that merges calls; whether one was too many. Pure."""

from __future__ import annotations

from typing import NamedTuple

from riverlens_worker.expectation import Call

_TOGETHER_S = 0.0007
_APART_SHARE = 0.1
"""Calls that left so far apart, as a share of the time taken, and are answered at once, ran in one batch."""
_FADE = 0.9
_MERGED_SHARE = 0.35
_APART_AGAIN_SHARE, _APART_AGAIN_CALLS = 0.05, 64
"""After so many answers of which hardly any came together, the server is thought to merge no longer."""
_GROWN_CALLS, _GROWN_LOOKS = 8, 64
_GROWN_TIMES, _GROWN_S = 1.3, 0.001
_ALIKE_TIMES = 1.5


class FreeLine(NamedTuple):
    """What free calls take: of no rows, for a row more, in seconds; and of how many rows they usually are."""

    none_s: float
    row_s: float
    rows: float


class Window:
    """Watches the answers while there are several slots.

    Attributes:
        merged: the server answers calls together that left apart: it runs them in batches of its own.
    """

    __slots__ = ("_before", "_last", "_looks", "_seldom", "_share", "merged")

    def __init__(self) -> None:
        self.merged = False
        self._last: Call | None = None
        self._share = 0.0
        self._seldom = 0
        self._before: FreeLine | None = None
        self._looks = 0

    def resized(self, before: FreeLine | None) -> None:
        """There are more slots than before, or (None) fewer; `before`: what free calls took with fewer."""
        self._before, self._looks = before, 0

    def reset(self) -> None:
        """One slot again."""
        self.merged, self._share, self._seldom, self._before = False, 0.0, 0, None

    def answered(self, call: Call, row_s: float) -> None:
        """A call was answered. Coincidence does it now and then, a merging server most of the time.

        A machine that stands still now and then reads answers together that came one by one.
        """
        last, self._last = self._last, call
        if last is None or call.answered_s is None or last.answered_s is None:
            return
        apart_s = abs(call.started_s - last.started_s + row_s * (call.rows - last.rows))
        at_once = call.answered_s - last.answered_s < _TOGETHER_S
        hit = at_once and apart_s > _APART_SHARE * (call.answered_s - call.started_s)
        self._share = _FADE * self._share + (1 - _FADE) * hit
        self._seldom = self._seldom + 1 if self._share < _APART_AGAIN_SHARE else 0
        self.merged = self._share > _MERGED_SHARE or (self.merged and self._seldom < _APART_AGAIN_CALLS)

    def grew(self, now: FreeLine | None, calls: int) -> bool:
        """Whether free calls take longer since there is a slot more; compared once, where rows are alike."""
        before = self._before
        if before is None or now is None or calls < _GROWN_CALLS:
            return False
        self._looks += 1
        alike = 1 / _ALIKE_TIMES <= now.rows / before.rows <= _ALIKE_TIMES
        if alike or self._looks > _GROWN_LOOKS:
            self._before = None
        before_s = before.none_s + before.row_s * now.rows
        grown = now.none_s + now.row_s * now.rows > _GROWN_TIMES * before_s + _GROWN_S
        return alike and grown and not self.merged
