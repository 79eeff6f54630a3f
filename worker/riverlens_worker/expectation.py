"""What is expected of a server's answers, and how well that holds; see `dispatch`. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from riverlens_worker.device import ALIKE_CALLS, ServiceTimeFit

TRANSPORT_S = 0.002
"""Until free calls have told it."""
_FREE_CALLS = 12
_LOOKS_APART, _MOST_LOOKS_APART = 64, 256
_AS_BEFORE_S, _AS_BEFORE_SHARE = 0.001, 0.1
"""A free call that took what was expected, but for this and a share of it, says that nothing has changed."""
_TURN_CALLS = 32
_TURN_TRANSPORT_SHARE = 0.5
_ERROR_FADE = 0.9
_JITTER_S = 0.001
_LEAST_SAMPLES = 3
_LEFT_SHARES = (-0.1, 0.3)
"""A call with so much of a device time left may be in service, or surely is, when another one arrives."""


@dataclass(slots=True, eq=False)
class Call:
    """One Predict call under way. All but `rows` and `started_s` is the dispatch clock's.

    Attributes:
        rows: frames in it.
        started_s: when it left, monotonic seconds.
        free: a slot was free then.
        timed: it left when the clock said, not because it was full.
        held: it left as soon as its turn was thought to come, and not later for want of frames.
        ready_s: when the first of its frames could have left.
        wanting: that was after it was due.
        expected_s: when its answer was expected then; None where nothing was known.
        beside: calls that were then in service; None where that is not sure.
        begun_s: when the call it queued behind was answered.
        twin: the other call of a pair.
        answered_s: when its answer came.
    """

    rows: int
    started_s: float
    free: bool = True
    timed: bool = True
    held: bool = False
    ready_s: float = float("-inf")
    wanting: bool = False
    expected_s: float | None = None
    beside: int | None = 0
    begun_s: float | None = None
    twin: Call | None = None
    answered_s: float | None = None


class FreeLine(NamedTuple):
    """What free calls take: of no rows, for a row more, in seconds; and of how many rows they usually are."""

    none_s: float
    row_s: float
    rows: float


class Expectation:
    """One server's costs. Times are monotonic seconds.

    Attributes:
        fit: what a device costs.
        error: how far answers are off, as a faded mean of shares of the device time.
    """

    __slots__ = (
        "_beyond_rows_s", "_free", "_known_for", "_looks_apart", "_since_free", "_turns", "error", "fit",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fit = ServiceTimeFit()
        self.error = 0.0
        self._looks_apart, self._since_free = _LOOKS_APART, 0
        self._free: deque[tuple[int, float]] = deque(maxlen=_FREE_CALLS)
        self._turns: deque[tuple[int, float]] = deque(maxlen=_TURN_CALLS)
        self._known_for: tuple[float, float] | None = None
        self._beyond_rows_s = 0.0

    @property
    def sure(self) -> bool:
        """Whether there are answers enough to expect anything."""
        return len(self.fit) >= _LEAST_SAMPLES

    @property
    def free_line(self) -> FreeLine | None:
        """What free calls take; None while unknown."""
        cost, none_s = self.fit.cost(), self.alone_s(0)
        if cost is None or none_s is None or not self._free:
            return None
        return FreeLine(none_s, cost[1], median(rows for rows, _ in self._free))

    @property
    def free_took_s(self) -> float:
        """What the usual free call took; 0 while there was none."""
        return median(seconds for _, seconds in self._free) if self._free else 0.0

    @property
    def look_due(self) -> bool:
        """Whether the next call should wait for the answer before it: a new look at the transport.

        The device is idle meanwhile, so the more often it was as before, the fewer.
        """
        return self._since_free >= self._looks_apart

    def left(self, *, free: bool) -> None:
        """A call left; `free`: on a free slot."""
        self._since_free = 0 if free else self._since_free + 1

    def alone_s(self, rows: float) -> float | None:
        """What a call of `rows` rows takes from start to answer on a free slot; None while unknown."""
        cost = self.fit.cost()
        if cost is None:
            return None
        # Asked several times for each frame that arrives; what it is made of changes with each answer.
        if self._known_for != cost:
            self._known_for, self._beyond_rows_s = cost, self._beyond_rows(*cost)
        return self._beyond_rows_s + cost[1] * rows

    def _beyond_rows(self, a: float, b: float) -> float:
        """What a call takes beyond `b` a row, on a free slot."""
        if self._turns:
            # The quickest one may have waited too; what is taken for transport is never steered away.
            beyond_s = min(seconds - a - b * n for n, seconds in self._turns)
            return a + max(0.0, _TURN_TRANSPORT_SHARE * beyond_s)
        if not self._free:
            return a + TRANSPORT_S
        return median(seconds - b * n for n, seconds in self._free)

    def slots_free_s(self, calls: Sequence[Call], slots: int, since_s: float) -> list[float] | None:
        """When each slot is free again, that of the newest call last; None while unknown.

        `since_s`: none is free before that.
        """
        free_s = [since_s] * slots
        for call in calls:
            alone_s, device_s = self.alone_s(call.rows), self.fit.seconds(call.rows)
            if alone_s is None or device_s is None:
                return None
            first_s = min(free_s)
            free_s.remove(first_s)
            free_s.append(max(call.started_s + alone_s, first_s + device_s))
        return free_s

    def beside(self, call: Call, before: Sequence[Call]) -> int | None:
        """How many of `before` are in service when `call` comes; None where that is not sure."""
        own_s = self.alone_s(call.rows)
        if own_s is None:
            return len(before)
        lefts_s = [float("inf") if c.expected_s is None else c.expected_s - call.started_s for c in before]
        most, least = (sum(left_s > share * own_s for left_s in lefts_s) for share in _LEFT_SHARES)
        return least if least == most else None

    def took_free(self, rows: int, took_s: float, *, alone: bool, ours: bool) -> None:
        """A free call: the fit learns the slope of such calls, and that the device takes no longer.

        `alone`: queued calls tell the cost, so what this one took beyond it is transport.
        `ours`: see `learn`.
        """
        expected_s = self.alone_s(rows)
        if alone and expected_s is not None:
            as_before = abs(took_s - expected_s) <= _AS_BEFORE_S + _AS_BEFORE_SHARE * expected_s
            apart = 2 * self._looks_apart if as_before else self._looks_apart // 2
            self._looks_apart = min(max(apart, _LOOKS_APART), _MOST_LOOKS_APART)
        self._free.append((rows, took_s))
        self._known_for = None
        transport_s = TRANSPORT_S
        cost = self.fit.cost()
        if alone and cost is not None and len(self._free) >= _LEAST_SAMPLES:
            transport_s = max(0.0, median(seconds - cost[0] - cost[1] * n for n, seconds in self._free))
        self.learn(rows, max(took_s - transport_s, took_s / 2), ours=ours)

    def learn(self, rows: int, service_s: float, *, ours: bool) -> None:
        """A call of `rows` rows took the device so long. A changed device explains what was unexpected.

        `ours`: it works on one call at a time, ours, so a new cost is the device's.
        """
        times = self.fit.add(rows, service_s, ours=ours)
        if times == 1:
            return
        # The newest may be among those that told it.
        if older := list(self._free)[:-ALIKE_CALLS]:
            self._free.clear()
            more = 1 - 1 / times
            self._free.extend((n, took_s + more * (self.fit.seconds(n) or 0.0)) for n, took_s in older)
        self._known_for = None
        self.error = 0.0

    def took_in_turn(self, rows: int, took_s: float) -> None:
        """A call that others' calls may have delayed: it tells nothing but how short the transport is."""
        self._turns.append((rows, took_s))
        self._known_for = None
        self.fit.saw(rows)

    def waited_s(self, call: Call, took_s: float) -> float | None:
        """How long a call waited at the server; None while that cannot be told."""
        alone_s = self.alone_s(call.rows)
        return took_s - alone_s if alone_s is not None and (self._free or self._turns) else None

    def judge(self, call: Call, now_s: float) -> None:
        """A call was answered now: was that expected?"""
        device_s = self.fit.seconds(call.rows)
        if call.expected_s is None or not device_s:
            return
        error = min(1.0, max(0.0, abs(now_s - call.expected_s) - _JITTER_S) / device_s)
        self.error = _ERROR_FADE * self.error + (1 - _ERROR_FADE) * error

    def forget(self) -> None:
        """Nothing learnt until now counts any more."""
        self.fit.forget()
        self.error, self._looks_apart = 0.0, _LOOKS_APART
        self._free.clear()
        self._turns.clear()
        self._known_for = None
