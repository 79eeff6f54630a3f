"""How long Kafka may collect frames before it answers a fetch. Pure.

A fetch costs about a millisecond of CPU whatever it brings, and where every frame is answered at once there
is a fetch for each frame. While the device is busy nobody waits for a frame: Kafka may hold its answer
until shortly before the next batch leaves, or until there is enough to fill it. While the device could
take a frame, the first one is answered at once.

How long before is measured: Kafka's timers, the way and a busy machine make an answer late.
"""

from __future__ import annotations

from dataclasses import dataclass

_INTO_BATCH_S = 0.02
"""From an answer to its frames' rows in the batch: they are parsed and looked at."""
_LATE_S = 0.005
"""How late a held answer comes, until it was measured."""
_MOST_MARGIN_S = 0.05
_LEAST_HOLD_S = 0.01
"""Shorter holds save nothing."""
_MOST_BYTES = 1024 * 1024
"""Of one partition Kafka counts no more towards a fetch: with more wanted, a backlog is held as well."""
_FADE = 0.9


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
    """Of one fetch, as Kafka takes them: answer at `least_bytes`, or after `hold_ms`.

    `unread_s`: aiokafka sends none while it has younger records than that which nobody has read.
    """

    hold_ms: int
    least_bytes: int
    unread_s: float = 0.1


ORDINARY = Terms(500, 1)
"""The clients' defaults: the first frame is answered at once."""
CROWDED = Terms(50, 1, 0.01)
"""Where some partition has no room: what was fetched of it must not hold up the others, nor they it."""


class FetchPace:
    """Turns demand into a fetch's terms. Writer: the poller. Times are monotonic seconds, given by it."""

    __slots__ = ("_held_until_s", "_late_s", "_mean_bytes", "_spread_s")

    def __init__(self) -> None:
        self._mean_bytes = 0.0
        self._held_until_s: float | None = None
        self._late_s = _LATE_S
        self._spread_s = 0.0

    @property
    def margin_s(self) -> float:
        """How long before a batch leaves its last fetch is to be answered."""
        return min(_INTO_BATCH_S + self._late_s + 2 * self._spread_s, _MOST_MARGIN_S)

    def terms(self, demand: Demand, now_s: float, *, crowded: bool = False) -> Terms:
        """The terms of a fetch that begins now; one that is under way keeps those it began with.

        `crowded`: some partition has no room.
        """
        most = CROWDED if crowded else ORDINARY
        into_batch_s = self.margin_s + max(0.0, demand.decode_s - _INTO_BATCH_S)
        hold_s = min(demand.due_in_s - into_batch_s, most.hold_ms / 1000)
        if demand.rows <= 0 or hold_s < _LEAST_HOLD_S:
            return most
        if self._held_until_s is None or now_s > self._held_until_s + _MOST_MARGIN_S:
            self._held_until_s = now_s + hold_s
        wanted_bytes = int(demand.rows * self._mean_bytes)
        return Terms(int(hold_s * 1000), min(max(1, wanted_bytes), _MOST_BYTES), most.unread_s)

    def answered(self, frames: int, nbytes: int, now_s: float) -> None:
        """So many frames (at least one), of so many bytes together, came of the last fetch."""
        mean_bytes = nbytes / frames
        self._mean_bytes += (1 - _FADE) * (mean_bytes - self._mean_bytes) if self._mean_bytes else mean_bytes
        late_s = -1.0 if self._held_until_s is None else now_s - self._held_until_s
        # Later than that it is another fetch's answer: the held one brought nothing.
        if 0 <= late_s <= _MOST_MARGIN_S:
            step_s = late_s - self._late_s
            self._late_s += (1 - _FADE) * step_s
            self._spread_s += (1 - _FADE) * (abs(step_s) - self._spread_s)
        self._held_until_s = None
