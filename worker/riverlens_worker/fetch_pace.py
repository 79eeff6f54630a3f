"""When Kafka is asked for frames again, and on which terms. Pure.

A fetch costs more than half a millisecond of CPU whatever it brings, and where one always waits at Kafka
there is a fetch for each frame. While the device is busy nobody waits for a frame: the next fetch is sent
shortly before the next batch leaves, and brings all that came until then; those behind it bring what comes in
the time that is left. While the device could take a frame, a fetch waits at Kafka for it.

How long before is learnt from what such a fetch takes.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTO_BATCH_S = 0.003
"""From an answer to its frames' rows in the batch: they are parsed and looked at."""
_TOOK_S = 0.004
"""What a fetch takes, until it was measured."""
_MOST_MARGIN_S = 0.05
_LEAST_REST_S, _MOST_REST_S = 0.003, 0.5
"""Shorter rests save nothing; after longer ones Kafka would be heard of too seldom."""
_STEP_S, _IN_TIME_SHARE = 0.0003, 0.9
"""So much nearer to what a fetch took, which it is to be in time in this share of cases."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What the batch that is being filled waits for.

    Attributes:
        due_in_s: when it will leave, in seconds from now; not above 0 where a first frame could leave at
            once, or nobody knows.
        rows: how many more rows would fill it; 0 where it is full.
        decode_s: what the decode of so many frames takes, all threads together.
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

    __slots__ = ("_asked_s", "_since_s", "_took_s")

    def __init__(self) -> None:
        self._took_s = _TOOK_S
        self._since_s: float | None = None
        self._asked_s: float | None = None

    @property
    def resting(self) -> bool:
        """Whether a fetch is put off."""
        return self._since_s is not None

    @property
    def margin_s(self) -> float:
        """How long before a batch leaves its last frames are asked for."""
        return min(_INTO_BATCH_S + self._took_s, _MOST_MARGIN_S)

    def rest_s(self, demand: Demand, now_s: float) -> float:
        """How much longer the next fetch is put off, in seconds; 0: it is to be sent now.

        However often a batch turns out to be due later, it is sent half a second after the first question.
        """
        rest_s = demand.due_in_s - self.margin_s - demand.decode_s
        if demand.rows <= 0 or rest_s < _LEAST_REST_S:
            return 0.0
        if self._since_s is None:
            self._since_s = now_s
        return max(0.0, min(rest_s, self._since_s + _MOST_REST_S - now_s))

    def asked(self, now_s: float) -> None:
        """A fetch is sent. After a rest frames have gathered at Kafka, so that it is answered at once."""
        self._asked_s = now_s if self.resting else None
        self._since_s = None

    def answered(self, now_s: float) -> None:
        """The first frames came since."""
        if self._asked_s is None:
            return
        took_s, self._asked_s = now_s - self._asked_s, None
        # A step of one size: that a fetch found nothing and had to wait says little of what others take.
        share = _IN_TIME_SHARE if took_s > self._took_s else _IN_TIME_SHARE - 1
        self._took_s = min(max(self._took_s + share * _STEP_S, 0.0), _MOST_MARGIN_S)
