"""When the next call should leave: just in time, so that it arrives as the device becomes free. Pure.

Earlier only commits frames to a smaller batch than they could have had; later leaves the device idle. What
is known of a call is when it left and when its answer came:

    alone       left with nothing under way: answer - start = transport + a + b*n
    overlapping waited at the server for the one before it: answer - answer before = a + b*n

So the device's cost is fitted from overlapping calls, the transport is what calls alone take beyond it, and
how long an overlapping call waited at the server is what it took beyond a call alone. The lead, how long
before the expected answer the next call leaves, is steered so that calls wait there for a moment only.

Devices that others use too do not answer when expected: then calls leave at once, as many as the in-flight
window allows. A device that runs calls side by side cannot be told from a quicker one while one call at a
time is sent: for those there is the setting `dispatch = "at-once"`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Protocol

from riverlens_worker.device import ServiceTimeFit

_TRANSPORT_S = 0.002
"""Until calls alone have told it."""
_WAIT_S = 0.0007
"""Wanted wait at the server: about what the event loop's timers are off by."""
_STEP_SHARE = 0.2
_MOST_STEP_S = 0.002
_MOST_LEAD_S = 0.05
_ALONE_CALLS = 12
_ALONE_EVERY = 64
"""After so many calls without one alone, one waits for the answer before it: a new look at the transport."""
_ERROR_FADE = 0.9
_UNPREDICTABLE = 0.5
_PREDICTABLE = 0.3
_LEAST_SAMPLES = 3


class Underway(Protocol):
    """A call under way.

    Attributes:
        started_s: when it left, monotonic seconds.
        alone: nothing else was under way then.
        timed: it left when the clock said, not because it was full.
        expected_s: when its answer was expected then; None where nothing was known.
    """

    rows: int
    started_s: float
    alone: bool
    timed: bool
    expected_s: float | None


class DispatchClock:
    """One device's expectations. Times are monotonic seconds, given by the caller.

    Attributes:
        fit: what the device costs.
        lead_s: how long before an expected answer the next call leaves.
    """

    __slots__ = ("_alone", "_answered_s", "_error", "_failed_s", "_since_alone", "eager", "fit", "lead_s")

    def __init__(self) -> None:
        self.fit = ServiceTimeFit()
        self.lead_s = _TRANSPORT_S + _WAIT_S
        self.eager = False
        self._alone: deque[tuple[int, float]] = deque(maxlen=_ALONE_CALLS)
        self._answered_s = float("-inf")
        self._failed_s = float("-inf")
        self._since_alone = 0
        self._error = 0.0

    def alone_s(self, rows: int) -> float | None:
        """What a call of `rows` rows takes from start to answer on an idle device; None while unknown."""
        cost = self.fit.cost()
        if cost is None:
            return None
        a, b = cost
        if not self._alone:
            return a + b * rows + _TRANSPORT_S
        return median(seconds - b * n for n, seconds in self._alone) + b * rows

    def free_s(self, calls: Sequence[Underway]) -> float | None:
        """When the last of the calls under way, oldest first, is answered; None while unknown."""
        free_s = self._answered_s
        for call in calls:
            alone_s, device_s = self.alone_s(call.rows), self.fit.seconds(call.rows)
            if alone_s is None or device_s is None:
                return None
            free_s = max(call.started_s + alone_s, free_s + device_s)
        return free_s

    def due_s(self, calls: Sequence[Underway], *, full: bool) -> float:
        """When the next call should leave; minus infinity for at once, infinity for after an answer.

        `full`: a batch waits that cannot grow any more, so nothing is gained by keeping it.
        """
        if not calls or full or self.eager or len(self.fit) < _LEAST_SAMPLES:
            return float("-inf")
        if self._since_alone >= _ALONE_EVERY:
            return float("inf")
        free_s = self.free_s(calls)
        return float("-inf") if free_s is None else free_s - self.lead_s

    def started(self, call: Underway, before: Sequence[Underway], *, full: bool) -> None:
        """A call leaves while those of `before` are under way."""
        call.alone = not before
        call.timed = not full and not self.eager
        call.expected_s = self.free_s([*before, call])
        if (
            call.alone
            and self._since_alone < _ALONE_EVERY
            and call.started_s - self._answered_s < _MOST_STEP_S
        ):
            # The answer came before the time to leave: with so short a lead no call would ever overlap.
            self.lead_s = min(self.lead_s + _STEP_SHARE * _MOST_STEP_S, _MOST_LEAD_S)
        self._since_alone = 0 if call.alone else self._since_alone + 1

    def answered(self, call: Underway, now_s: float) -> None:
        """A call was answered."""
        took_s, before_s = now_s - call.started_s, self._answered_s
        self._answered_s = now_s
        if call.started_s <= self._failed_s:
            # How long the device was busy with the call that failed beside it, nobody knows.
            return
        self._judge_prediction(call, now_s)
        if call.alone or before_s < call.started_s:
            self._took_alone(call.rows, took_s)
            return
        alone_s = self.alone_s(call.rows)
        waited_s = None if alone_s is None or not self._alone else took_s - alone_s
        device_s = self.fit.seconds(call.rows)
        if waited_s is None or waited_s > _WAIT_S / 2 or now_s - before_s < (device_s or 0.0):
            # The device went from the call before straight to this one; a gap is never less than the cost.
            self.fit.add(call.rows, now_s - before_s)
        if waited_s is not None and call.timed:
            step_s = min(max(_WAIT_S - waited_s, -_MOST_STEP_S), _MOST_STEP_S)
            self.lead_s = min(max(self.lead_s + _STEP_SHARE * step_s, 0.0), _MOST_LEAD_S)

    def failed(self, now_s: float, *, oldest: bool) -> None:
        """A call failed: nothing is learnt of it nor of those under way; of the oldest the device is free."""
        self._failed_s = now_s
        if oldest:
            self._answered_s = now_s

    def _took_alone(self, rows: int, took_s: float) -> None:
        """The fit learns the slope of such calls, and that the device takes no longer than they do."""
        self._alone.append((rows, took_s))
        transport_s = _TRANSPORT_S
        cost = self.fit.cost()
        if cost is not None and len(self._alone) >= _LEAST_SAMPLES:
            transport_s = max(0.0, median(seconds - cost[0] - cost[1] * n for n, seconds in self._alone))
        self.fit.add(rows, max(took_s - transport_s, took_s / 2))

    def _judge_prediction(self, call: Underway, now_s: float) -> None:
        device_s = self.fit.seconds(call.rows)
        if call.expected_s is None or not device_s:
            return
        error = min(1.0, abs(now_s - call.expected_s) / device_s)
        self._error = _ERROR_FADE * self._error + (1 - _ERROR_FADE) * error
        self.eager = self._error > (_PREDICTABLE if self.eager else _UNPREDICTABLE)
