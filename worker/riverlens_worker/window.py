"""Whether slots are devices, or a window into a server that merges calls; whether one was too many. Pure."""

from __future__ import annotations

from riverlens_worker.expectation import Call, FreeLine

_TOGETHER_S, _TOGETHER_SHARE = 0.0007, 0.01
"""Answers nearer than this and a share of the time taken came at once: to read the first takes a while."""
_APART_SHARE, _APART_TIMES = 0.05, 1.5
"""Calls that left so far apart, as a share of the time taken, and are answered at once, ran in one batch; and
so many times farther apart than answers that count as given at once."""
_FADE = 0.9
_MERGED_SHARE = 0.35
_LONG_FADE, _MORE_SHARE, _CHANCE_TIMES = 0.97, 0.1, 1.5
"""A lesser share of more calls tells enough. Both must be so much above so many times that of chance."""
_APART_AGAIN_SHARE, _APART_AGAIN_CALLS = 0.05, 64
"""After so many answers of which hardly any came together, the server is thought to merge no longer."""
_GROWN_CALLS, _GROWN_LOOKS = 8, 64
_GROWN_TIMES, _GROWN_S = 1.3, 0.001
_ALIKE_TIMES = 1.5


class Window:
    """Watches the answers while there are several slots.

    Attributes:
        merged: the server answers calls together that left apart: it runs them in batches of its own.
    """

    __slots__ = ("_before", "_gap_s", "_last", "_long_share", "_looks", "_seldom", "_share", "merged")

    def __init__(self) -> None:
        self.merged = False
        self._last: Call | None = None
        self._share = self._long_share = 0.0
        self._gap_s: float | None = None
        self._seldom = 0
        self._before: FreeLine | None = None
        self._looks = 0

    def resized(self, before: FreeLine | None) -> None:
        """There are more slots than before, or (None) fewer; `before`: what free calls took with fewer."""
        self._before, self._looks = before, 0

    def reset(self) -> None:
        """One slot again."""
        self.merged, self._seldom, self._before = False, 0, None
        self._share, self._long_share, self._gap_s = 0.0, 0.0, None

    def answered(self, call: Call, row_s: float) -> None:
        """A call was answered. By coincidence some come together, of a merging server more.

        A machine that stands still now and then reads answers together that came one by one.
        """
        last, self._last = self._last, call
        if last is None or call.answered_s is None or last.answered_s is None:
            return
        apart_s = abs(call.started_s - last.started_s + row_s * (call.rows - last.rows))
        took_s, gap_s = call.answered_s - call.started_s, call.answered_s - last.answered_s
        near_s = _TOGETHER_S + _TOGETHER_SHARE * took_s
        apart = apart_s > max(_APART_SHARE * took_s, _APART_TIMES * near_s)
        self._count(hit=apart and gap_s < near_s, gap_s=gap_s)
        # The share that comes so near by itself.
        chance = near_s / (self._gap_s or near_s)
        needed = _MORE_SHARE + _CHANCE_TIMES * chance
        self._seldom = self._seldom + 1 if self._share < _APART_AGAIN_SHARE + chance else 0
        seen = self._share > max(_MERGED_SHARE, needed) or self._long_share > needed
        self.merged = seen or (self.merged and self._seldom < _APART_AGAIN_CALLS)

    def _count(self, *, hit: bool, gap_s: float) -> None:
        self._share = _faded(self._share, hit, _FADE)
        self._long_share = _faded(self._long_share, hit, _LONG_FADE)
        self._gap_s = gap_s if self._gap_s is None else _faded(self._gap_s, gap_s, _LONG_FADE)

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


def _faded(mean: float, value: float, fade: float) -> float:
    return fade * mean + (1 - fade) * value
