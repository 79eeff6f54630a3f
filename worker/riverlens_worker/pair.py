"""Two calls that left at once, and what their answers say; see `overlap`. Pure."""

from __future__ import annotations

from dataclasses import dataclass

_TOGETHER_S = 0.001
_TOGETHER_SHARE = 0.06
"""Answers so near, this and a share of the time the later one took, count as given at once."""
_WAITED_SHARE = 1.5
_QUEUE_TIMES, _FULL_QUEUE_TIMES, _QUEUE_S = 2.3, 1.5, 0.02
"""A call that takes longer than so many device times and this waits in a queue, as it seems. With full calls
a slot too many only gives their worker a larger share of the server than the others have.
"""
_CHANCE_TIMES = 1.5
"""Answers come near each other by chance somewhat more often than if they came at any time alike."""
_SOONER_SHARE, _OFF_SHARE = 0.7, 0.25


@dataclass(frozen=True, slots=True)
class Pair:
    """Two calls that left at once, both answered.

    Attributes:
        gap_s: between their answers.
        uneven_s: what of that their numbers of rows explain where they run side by side.
        took_s: the later one, from start to answer.
        device_s, alone_s: what is expected of that one: device time, and start to answer with nothing in
            its way; None while unknown.
        beside: calls that were in service beside the second one, the first one among them.
        unexpected: single calls' answers come at other times than expected.
        full: together they are as many rows as a call may have.
    """

    gap_s: float
    uneven_s: float
    took_s: float
    device_s: float | None
    alone_s: float | None
    beside: int
    unexpected: bool = False
    full: bool = False

    @property
    def together(self) -> bool:
        """Whether they were answered at once."""
        return min(self.gap_s, abs(self.gap_s - self.uneven_s)) < self.nearness_s

    @property
    def nearness_s(self) -> float:
        """Answers nearer than that came at once."""
        return _TOGETHER_S + _TOGETHER_SHARE * self.took_s

    @property
    def coincidence(self) -> float:
        """How likely answers of calls that run one after the other come so near."""
        return min(1.0, _CHANCE_TIMES * self.nearness_s / self.device_s) if self.device_s else 1.0

    @property
    def sooner(self) -> bool:
        """Whether the second call took the device far less than is known.

        So too where pairs take what is expected, but single calls do not.
        """
        share = 1.0 + _SOONER_SHARE if self.unexpected else _SOONER_SHARE
        return self.device_s is not None and self.gap_s + _TOGETHER_S < share * self.device_s

    @property
    def off(self) -> bool:
        """Whether the second call took the device another time than is known."""
        if self.device_s is None:
            return False
        return abs(self.gap_s - self.device_s) > _OFF_SHARE * self.device_s + _TOGETHER_S

    @property
    def unhindered(self) -> bool:
        """Whether nothing was in its way: two that waited for calls before them may be answered at once too.

        Where every call waits long, one more only adds to the queue.
        """
        if self.alone_s is None or self.device_s is None:
            return False
        times = _FULL_QUEUE_TIMES if self.full else _QUEUE_TIMES
        queues = self.alone_s > times * self.device_s + _QUEUE_S
        return not queues and self.took_s < _WAITED_SHARE * self.alone_s
