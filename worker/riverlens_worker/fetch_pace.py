"""When Kafka is asked for frames again, and on which terms. Pure.

A fetch costs more than half a millisecond of CPU whatever it brings, and where one always waits at Kafka
there is a fetch for each frame. While the device is busy nobody waits for a frame: the next fetch is sent
shortly before the next batch leaves, and brings all that came until then; those behind it bring what comes in
the time that is left, a few milliseconds' frames each. While the device could take a frame, a fetch waits at
Kafka for it.

How long before is learnt from what such a fetch takes.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTO_BATCH_S = 0.003
"""From an answer to its frames' rows in the batch: they are parsed and looked at."""
_TOOK_S = 0.004
"""What a fetch takes, until it was measured."""
_BACKLOG_S = 0.03
"""Beside a backlog: each fetch brings some of it along, and what comes with it waits for its turn."""
_MOST_MARGIN_S = 0.05
_LEAST_REST_S, _MOST_REST_S = 0.003, 0.5
"""Shorter rests save nothing; after longer ones Kafka would be heard of too seldom."""
_BETWEEN_S = 0.003
"""From a fetch to the next one, at least: at 1,200 frames a second there were three for each batch. With half
as many, p99 gains more by the cores that are left free than it loses by the wait."""
_STEP_S, _IN_TIME_SHARE = 0.0003, 0.9
"""So much nearer to what a fetch took, which it is to be in time in this share of cases."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the batch that is being filled waits for.

    Attributes:
        due_in_s: when it will leave, in seconds from now; not above 0 where a first frame could leave at
            once, or nobody knows.
        rows: how many more rows would fill it; not above 0 where it is full.
        decode_s: what the decode of so many frames takes, one at least, all threads together.
    """

    due_in_s: float
    rows: int
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Of fetches: Kafka answers one at the first frame, or after `hold_ms`.

    `unread_s`: aiokafka sends none while it has younger records than that which nobody has read.
    """

    hold_ms: int
    unread_s: float


ORDINARY = Terms(500, 0.1)
"""The clients' defaults."""
CROWDED = Terms(50, 0.01)
"""Where some partition has no room: what was fetched of it must not hold up the others, nor they it."""


class FetchPace:
    """Turns demand into the time of the next fetch. Times are monotonic seconds, given by the caller."""

    __slots__ = ("_answers", "_asked_s", "_sent_s", "_since_s", "_took_s", "_until_s")

    def __init__(self) -> None:
        self._took_s = _TOOK_S
        self._since_s: float | None = None
        self._until_s = self._asked_s = 0.0
        self._sent_s = float("-inf")
        self._answers = 0

    @property
    def margin_s(self) -> float:
        """How long before a batch leaves its last frames are asked for."""
        return min(_INTO_BATCH_S + self._took_s, _MOST_MARGIN_S)

    def rest_s(self, demand: Demand, now_s: float, *, crowded: bool = False) -> float:
        """How much longer the next fetch is put off, in seconds; 0: it is to be sent now.

        A full batch wants nothing, so all is read for which there is room; but where it is full of a backlog
        (`crowded`: some partition has no room) the others' frames are wanted in it as well, and no sooner.
        However often a batch turns out to be due later, the fetch is sent half a second after the first
        question; and never sooner than 3 ms after the one before it.
        """
        return max(self._until_wanted_s(demand, now_s, crowded=crowded), self._sent_s + _BETWEEN_S - now_s)

    def _until_wanted_s(self, demand: Demand, now_s: float, *, crowded: bool) -> float:
        margin_s = self.margin_s + (_BACKLOG_S if crowded else 0.0)
        rest_s = demand.due_in_s - margin_s - demand.decode_s
        if (demand.rows <= 0 and not crowded) or rest_s < _LEAST_REST_S:
            return 0.0
        if self._since_s is None:
            self._since_s = now_s
        rest_s = max(0.0, min(rest_s, self._since_s + _MOST_REST_S - now_s))
        if rest_s > 0:
            self._until_s = now_s + rest_s
        return rest_s

    def asked(self, now_s: float, brokers: int = 1) -> None:
        """Fetches are sent to so many brokers.

        After a rest frames have gathered at Kafka, so that each is answered at once. What it takes begins
        when the rest was to end: that the machine woke up later is part of it.
        """
        self._sent_s = now_s
        if self._since_s is not None:
            self._answers, self._asked_s = brokers, min(now_s, self._until_s)
        self._since_s = None

    def answered(self, now_s: float, frames: int) -> None:
        """So many frames came together."""
        if not self._answers:
            return
        self._answers -= 1
        took_s = now_s - self._asked_s
        if took_s <= self._took_s:
            self._took_s = max(0.0, self._took_s - (1 - _IN_TIME_SHARE) * _STEP_S)
        elif frames > 1:
            # One alone may be a frame that the fetch had to wait for.
            self._took_s = min(self._took_s + _IN_TIME_SHARE * _STEP_S, _MOST_MARGIN_S)
