"""How long before an expected answer the next call leaves, steered by how long calls waited. Pure."""

from __future__ import annotations

from riverlens_worker.expectation import TRANSPORT_S

WAIT_S = 0.0007
"""Wanted wait at the server: about what the event loop's timers are off by."""
_STEP_SHARE = 0.2
_MOST_STEP_S = 0.002
_MOST_LEAD_S = 0.05
_EARLY_SHARE, _EARLY_S = 0.2, 0.01
"""A full batch leaves no sooner than a share of its device time, and what a large call takes to send."""
_EARLIER_S, _EARLY_FADE = 0.001, 0.97
"""Of that: so about one in twenty finds the device idle for a moment."""
_TURN_WAIT_SHARE = 0.2
_TURN_STEP_SHARE = 0.12
_TURN_EVEN_SHARE = 0.1
_TURN_FADE = 0.9


class Lead:
    """One server's lead.

    Attributes:
        seconds: before the answer expected first; negative: how long after an answer.
    """

    __slots__ = ("_early_s", "seconds")

    def __init__(self) -> None:
        self.seconds = TRANSPORT_S + WAIT_S
        self._early_s = float("inf")

    @property
    def holds(self) -> bool:
        """Whether calls are held back after an answer."""
        return self.seconds < 0

    def held_until_due(self, since_answer_s: float) -> bool:
        """Whether a call left when it was due, so long after an answer, and not later for want of frames."""
        return since_answer_s + min(self.seconds, 0.0) < _MOST_STEP_S

    def came_late(self) -> None:
        """The answer came before the time to leave: with so short a lead no call would ever queue."""
        self.seconds = min(self.seconds + _STEP_SHARE * _MOST_STEP_S, _MOST_LEAD_S)

    def waited(self, waited_s: float) -> None:
        """A call that left just in time waited so long at the server: a moment is wanted."""
        step_s = min(max(WAIT_S - waited_s, -_MOST_STEP_S), _MOST_STEP_S)
        self.seconds = min(max(self.seconds + _STEP_SHARE * step_s, 0.0), _MOST_LEAD_S)

    def early_s(self, device_s: float) -> float:
        """How much sooner than one that could still grow a full batch leaves, which takes so long."""
        self._early_s = min(self._early_s, _EARLY_SHARE * device_s + _EARLY_S)
        return self._early_s

    def waited_full(self, waited_s: float) -> None:
        """A full call waited so long at the server: where it was no moment, the next ones leave sooner."""
        self._early_s = self._early_s + _EARLIER_S if waited_s < WAIT_S else self._early_s * _EARLY_FADE

    def waited_in_turn(self, waited_s: float, device_s: float) -> None:
        """A call waited so long behind other clients'; `device_s`: what a call of its size costs.

        Who is held back longer accepts more wait: so the turns of all become equal.
        """
        wanted_s = _TURN_WAIT_SHARE * device_s + _TURN_EVEN_SHARE * max(0.0, -self.seconds)
        step_s = min(max(wanted_s - waited_s, -device_s / 2), device_s / 2)
        self.seconds = min(self.seconds + _TURN_STEP_SHARE * step_s, _MOST_LEAD_S)

    def fade(self) -> None:
        """Calls were held back for nothing: less, and quickly."""
        self.seconds *= _TURN_FADE

    def forget(self) -> None:
        """What made calls be held back no longer counts."""
        self.seconds = max(self.seconds, 0.0)
