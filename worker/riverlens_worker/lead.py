"""How long before an expected answer the next call leaves, steered by how long calls waited. Pure.

One lead for calls that could still grow, and what comes on top of it for full ones, which could not.
"""

from __future__ import annotations

from riverlens_worker.expectation import TRANSPORT_S

WAIT_S = 0.0007
"""Wanted wait at the server: about what the way there differs by from call to call."""
_STEP_SHARE = 0.2
_MOST_STEP_S = 0.002
_MOST_LEAD_S = 0.05
_IDLE_FADE, _IDLE_STEP_SHARE = 0.9, 0.6
_LEAST_IDLE_S, _MOST_IDLE_S = 0.0002, 0.003
"""Less, on average, is jitter; more, of one answer, is something else than a call that came too late."""
_TURN_WAIT_SHARE, _TURN_WAIT_S = 0.1, 0.0015
"""Wanted wait behind others' calls: a share of the device time, but more than what transport is off by."""
_TURN_STEP_SHARE = 0.12
_FIRST_STEP_SHARE, _FIRST_STEP_FADE = 0.7, 0.8
"""Nothing is known yet of the turns: the first steps are larger, however long a call waited."""
_TURN_EVEN_SHARE = 0.03
"""On top of it: so much of the time a call is held back, times how many device times that is. By the square
the turns of all become equal, and where they are it is little."""
_TURN_MEAN_SHARE, _TURN_MOST = 0.25, 2.0
"""Of each wait, as far as it is no longer than so many device times, in the mean of waits."""
_TURN_OFTEN, _TURN_SELDOM = 1.2, 2.2
"""Who is held back for fewer device times comes more often than others; for more, as often or less."""
_TURN_FADE, _HARDLY_S = 0.9, 0.001
"""Held back so much less after a call that was for nothing: it waited for less than this."""
_EARLY_SHARE, _EARLY_S = 0.2, 0.01
"""The most that a full call leaves sooner: a share of its device time, and what it takes to send."""
_EARLIER_S, _EARLY_FADE = 0.001, 0.97
"""After a call that came too late; after one that waited."""
_SURE_EVERY = 128
_IDLE_SHARE, _IDLE_S = 0.01, 0.001
"""An answer later by more than this share and this time came of a device that stood idle."""
_GAP_FADE = 0.3


class Lead:
    """One server's lead.

    Attributes:
        seconds: before the answer expected first; negative: how long after an answer.
    """

    __slots__ = ("_idle_s", "_step_share", "_turn_mean_s", "_turn_s", "seconds")

    def __init__(self) -> None:
        self.seconds = TRANSPORT_S + WAIT_S
        self._step_share = _FIRST_STEP_SHARE
        self._idle_s = 0.0
        self._turn_s: float | None = None
        self._turn_mean_s = 0.0

    @property
    def holds(self) -> bool:
        """Whether calls are held back after an answer."""
        return self.seconds < 0

    @property
    def _hold_s(self) -> float:
        return max(0.0, -self.seconds)

    def held_until_due(self, since_answer_s: float) -> bool:
        """Whether a call left when it was due, so long after an answer, and not later for want of frames."""
        return since_answer_s + min(self.seconds, 0.0) < _MOST_STEP_S

    def wanting(self, ready_s: float, free_s: float | None) -> bool:
        """Whether a call was due before its first frame came (`ready_s`); `free_s`: when a slot is free."""
        return free_s is not None and ready_s > free_s - self.seconds

    def came_late(self) -> None:
        """The answer came before the time to leave: with so short a lead no call would ever queue."""
        self.seconds = min(self.seconds + _STEP_SHARE * _MOST_STEP_S, _MOST_LEAD_S)

    def stood_idle(self, idle_s: float) -> None:
        """An answer came so much later after the one before it than the device takes; negative: sooner.

        On average the device stood idle for so long: what keeps one answer brings it nearer to the next one.
        Waits do not tell that on a machine that is busier than when a free call told the transport: the way
        takes longer, which looks like a wait, and is a reason to leave sooner, not later.
        """
        counted_s = min(max(idle_s, -_MOST_IDLE_S), _MOST_IDLE_S)
        self._idle_s = _IDLE_FADE * self._idle_s + (1 - _IDLE_FADE) * counted_s
        more_s = _IDLE_STEP_SHARE * max(0.0, self._idle_s - _LEAST_IDLE_S)
        self.seconds = min(self.seconds + more_s, _MOST_LEAD_S)

    def waited(self, waited_s: float, *, wanting: bool) -> None:
        """A call that left just in time waited so long at the server: a moment is wanted.

        `wanting`: it left later than it was due, for want of frames. That it waited for less is no reason to
        leave sooner: with ever more lead calls would leave as soon as there is a frame.
        """
        if wanting and waited_s < WAIT_S:
            return
        step_s = min(max(WAIT_S - waited_s, -_MOST_STEP_S), _MOST_STEP_S)
        self.seconds = min(max(self.seconds + _STEP_SHARE * step_s, 0.0), _MOST_LEAD_S)

    def waited_in_turn(self, waited_s: float, device_s: float, *, held: bool, timed: bool) -> None:
        """A call waited so long behind other clients'; `device_s`: what a call of its size costs.

        `held`: it left when it was due; `timed`: it was not full. Who is held back longer accepts more wait:
        so the turns of all become equal. Where a call was held back for nothing, or got full, it is less.
        """
        wanted_s = max(_TURN_WAIT_SHARE * device_s, _TURN_WAIT_S)
        even_s = self._even_s(waited_s, device_s)
        nothing = held and waited_s < _HARDLY_S and even_s < wanted_s
        if self.holds and (nothing or not timed):
            self.seconds *= _TURN_FADE
        elif held and timed:
            self._step(wanted_s + _TURN_EVEN_SHARE * self._hold_s**2 / device_s - even_s, device_s)

    def _even_s(self, waited_s: float, device_s: float) -> float:
        """What all the last waits would be, were they even.

        Turns of several workers also fit into each other unevenly: one comes three times while others come
        twice, and these wait now long, now hardly. They are to hold back less: the shorter wait counts. Who
        comes twice as often as others also waits now long, now hardly, and is to hold back more: the mean
        counts.
        """
        last_s, mean_s = (waited_s, waited_s) if self._turn_s is None else (self._turn_s, self._turn_mean_s)
        mean_s += _TURN_MEAN_SHARE * (min(waited_s, _TURN_MOST * device_s) - mean_s)
        self._turn_s, self._turn_mean_s = waited_s, mean_s
        shorter_s = min(waited_s, last_s, mean_s)
        seldom = (self._hold_s / device_s - _TURN_OFTEN) / (_TURN_SELDOM - _TURN_OFTEN)
        return mean_s + min(max(seldom, 0.0), 1.0) * (shorter_s - mean_s)

    def _step(self, step_s: float, device_s: float) -> None:
        step_s = min(step_s, device_s / 2)
        if self._step_share == _TURN_STEP_SHARE:
            step_s = max(step_s, -device_s / 2)
        self.seconds = min(self.seconds + self._step_share * step_s, 0.0)
        self._step_share = max(_FIRST_STEP_FADE * self._step_share, _TURN_STEP_SHARE)

    def forget(self) -> None:
        """What made calls be held back no longer counts."""
        self.seconds = max(self.seconds, 0.0)
        self._step_share = _FIRST_STEP_SHARE
        self._idle_s = 0.0
        self._turn_s = None


class FullLead:
    """How much sooner full calls leave: as little as keeps the device from standing idle.

    A large call takes longer to send than the free calls that tell the transport, so its wait is overrated.
    But where it comes too late its answer is late as well. What the device takes is told by calls that surely
    waited: now and then one leaves as soon as it ever may.
    """

    __slots__ = ("_calls", "_gap_s", "_last_s", "_most_s", "_seconds", "_sure_next")

    def __init__(self) -> None:
        self._seconds = self._most_s = float("inf")
        self._gap_s: float | None = None
        self._last_s = float("inf")
        self._calls = 0
        self._sure_next = True

    def seconds(self, device_s: float) -> float:
        """In seconds, on top of the lead, of a call that costs the device `device_s` seconds."""
        self._most_s = _most_early_s(device_s)
        return self._most_s if self._sure else self._seconds

    def about_s(self, device_s: float) -> float:
        """The same, of a call that is only thought of: nothing is noted."""
        return min(self._seconds, _most_early_s(device_s))

    @property
    def _sure(self) -> bool:
        return self._seconds >= self._most_s or self._calls % _SURE_EVERY == 0

    def answered(self, gap_s: float, waited_s: float) -> None:
        """A full call was answered `gap_s` after the one before it, having waited `waited_s` as it seems."""
        # The one behind it has left already.
        sure, self._sure_next = self._sure_next, self._sure
        # Behind an answer that came late the next one seems quick: only two in a row tell of less.
        least_s, self._last_s = max(gap_s, self._last_s), gap_s
        if self._gap_s is None:
            self._gap_s = gap_s
        elif least_s < self._gap_s:
            self._gap_s += _GAP_FADE * (least_s - self._gap_s)
        elif sure:
            self._gap_s += _GAP_FADE * (gap_s - self._gap_s)
        late = waited_s < WAIT_S or gap_s > (1 + _IDLE_SHARE) * self._gap_s + _IDLE_S
        self._seconds = min(self._seconds, self._most_s)
        self._seconds = self._seconds + _EARLIER_S if late else self._seconds * _EARLY_FADE
        self._calls += 1


def _most_early_s(device_s: float) -> float:
    return _EARLY_SHARE * device_s + _EARLY_S
