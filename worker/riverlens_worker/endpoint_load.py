"""What one model server has under way, what its calls cost, and how many of them it bears. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from riverlens_worker.backoff import Backoff
from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.dispatch import DispatchClock
from riverlens_worker.expectation import Call

STALE_S = 5.0
"""A cost that no answer has proved for so long counts as unknown: a slow server may have recovered."""
MAX_TIMEOUTS = 2
"""Calls in a row that run into their deadline before a server counts as gone."""
_ROUNDS_NEAR_REFUSAL = 16
_FAR_LATER = 2.0
"""A server that would answer so many times later than another gets full batches only."""


@dataclass(slots=True, eq=False)
class EndpointLoad:
    """One server's calls, cost and limits. Times are monotonic seconds, given by the caller.

    Attributes:
        most_calls: calls under way at once, at most.
        timed: calls leave just in time; else at once, as many as it bears.
        spread: from 0 to 1, another for each worker: what several do to a server they do not do at once.
        clock: what its device costs, and when it will be free.
        calls: those under way, oldest first.
        calls_limit: how many it bears now: halved at every overload, growing back by one for each round of
            calls that passed, but slowly where it was refused before.
        passed_s, started_s: when it last answered a call, and got one; minus infinity before.
        alone: one call has it to itself.
    """

    most_calls: int
    timed: bool = True
    spread: float = 0.5
    clock: DispatchClock = field(init=False)
    calls: list[Call] = field(default_factory=list)
    calls_limit: float = 0.0
    passed_s: float = float("-inf")
    started_s: float = float("-inf")
    alone: bool = False
    _refused_at: int = 0
    _overloads: int = 0
    _timeouts: int = 0
    _paused_until_s: float = float("-inf")

    def __post_init__(self) -> None:
        self.calls_limit = float(self.most_calls)
        self._refused_at = self.most_calls + 1
        self.clock = self._new_clock()

    def _new_clock(self) -> DispatchClock:
        return DispatchClock(self.most_calls if self.timed else 1, self.spread)

    @property
    def fit(self) -> ServiceTimeFit:
        """What its device costs."""
        return self.clock.fit

    @property
    def rows(self) -> int:
        """Rows under way."""
        return sum(call.rows for call in self.calls)

    def has_room(self, now_s: float) -> bool:
        """Whether one more call may start."""
        return not self.alone and len(self.calls) < self._most_now and now_s >= self.resumes_s

    @property
    def _most_now(self) -> int:
        """Just in time, one call more than run side by side is all that helps."""
        most = max(1, int(self.calls_limit))
        return min(most, self.clock.slots + 1) if self.timed else most

    def pair_due(self) -> bool:
        """Whether the next batch should leave as two calls at once; see `overlap`."""
        return not self.alone and len(self.calls) + 2 <= self._most_now and self.clock.pair_due(self.calls)

    def first_rows(self, rows: int) -> int:
        """How many of `rows` rows the next call gets: all of them but where a pair is due."""
        return self.clock.overlap.first_rows(rows) if self.pair_due() else rows

    def awaits_twin(self, now_s: float) -> bool:
        """Whether the other part of a pair should go here."""
        return self.clock.awaits_twin(self.calls, now_s)

    @property
    def resumes_s(self) -> float:
        """When its pause after an overload ends."""
        return self._paused_until_s

    def due_s(self, *, full: bool) -> float:
        """When it should get its next batch; infinity while only an answer can tell."""
        if self.alone or len(self.calls) >= self._most_now:
            return float("inf")
        return max(self.resumes_s, self.clock.due_s(self.calls, full=full) if self.timed else float("-inf"))

    def start(self, rows: int, now_s: float, *, full: bool = False, ready_s: float = float("-inf")) -> Call:
        """A call starts; `full`: it could not have grown any more; `ready_s`: when its first frame came."""
        call = Call(rows, now_s, ready_s=ready_s)
        self.clock.started(call, self.calls, full=full)
        self.calls.append(call)
        self.started_s = now_s
        return call

    def end(self, call: Call) -> None:
        """A call is over, however it ended."""
        self.calls.remove(call)
        self.clock.over(call)

    def passed(self, call: Call, now_s: float) -> None:
        """A call was answered."""
        self.clock.answered(call, now_s)
        self.passed_s = now_s
        self._overloads = self._timeouts = 0
        near = int(self.calls_limit) + 1 >= self._refused_at
        rounds = _ROUNDS_NEAR_REFUSAL if near else 1
        self.calls_limit = min(float(self.most_calls), self.calls_limit + 1 / rounds / self.calls_limit)
        if self.calls_limit > self._refused_at:
            self._refused_at = self.most_calls + 1

    def failed(self, call: Call, now_s: float) -> None:
        """A call was refused, or failed otherwise."""
        self.clock.failed(now_s, oldest=not self.calls or call is self.calls[0])

    def overloaded(self, call: Call, now_s: float, backoff: Backoff, chance: float) -> float:
        """A call was refused as one too many; returns the seconds it is given.

        Calls that were under way together are one overload: only the first of them counts.
        """
        if call.started_s >= self._paused_until_s:
            self._overloads += 1
            # The refused call counts, whether or not it has been ended yet.
            self._refused_at = len(self.calls) + (call not in self.calls)
            self.calls_limit = max(1.0, self.calls_limit / 2)
            self._paused_until_s = now_s + backoff.delay_s(self._overloads, chance)
        return max(0.0, self._paused_until_s - now_s)

    def timed_out(self) -> bool:
        """A call ran into its deadline: fewer at once; whether the server counts as gone."""
        self._timeouts += 1
        self.calls_limit = max(1.0, self.calls_limit / 2)
        return self._timeouts >= MAX_TIMEOUTS

    def gone(self, now_s: float) -> None:
        """It is asked no more until it says that it is back: it then starts afresh."""
        self._timeouts = self._overloads = 0
        self._paused_until_s = float("-inf")
        # What comes back may be another device, and traces every row count anew.
        self.clock = self._new_clock()
        self.clock.failed(now_s, oldest=True)

    def rows_per_s(self, rows: int) -> float | None:
        """What it can do in calls of `rows` rows; None while unknown."""
        return self.clock.rows_per_s(rows)

    def seconds(self, rows: int) -> float | None:
        """Expected device time of a call of `rows` rows; None while unknown."""
        return self.fit.seconds(rows)

    def free_in_s(self, now_s: float) -> float | None:
        """Expected seconds until it is free for one more; None while the cost is unknown."""
        if not self.calls:
            return 0.0
        free_s = self.clock.free_s(self.calls)
        if free_s is None:
            return None
        # However overdue the oldest call is, those behind it have all their time before them.
        behind_s = sum(self.seconds(call.rows) or 0.0 for call in self.calls[self.clock.slots :])
        return max(free_s - now_s, behind_s / self.clock.slots, 0.0)

    def lead_s(self, *, full: bool) -> float:
        """About how long before the answer that frees its slot the next call leaves; a full one sooner."""
        early_s = 0.0
        if full and self.calls:
            early_s = self.clock.full_lead.about_s(self.seconds(self.calls[-1].rows) or 0.0)
        return max(0.0, self.clock.lead.seconds) + early_s

    def known(self, now_s: float) -> bool:
        """Whether the cost was proved lately."""
        return self.fit.cost() is not None and now_s - self.passed_s < STALE_S


def order(loads: list[EndpointLoad], rows: int, now_s: float) -> list[int]:
    """Places in `loads`, the one that would answer `rows` more rows first leading; a pair stays together.

    A cost that is unknown, or was not proved lately, counts as the lowest known: so every server is tried,
    a slow one now and then.
    """
    known = [load.seconds(rows) or 0.0 for load in loads if load.known(now_s)]
    lowest = min(known, default=0.0)

    def key(place: int) -> tuple[bool, float, int, float]:
        load = loads[place]
        if load.known(now_s):
            answer_s = (load.free_in_s(now_s) or 0.0) + (load.seconds(rows) or 0.0)
        else:
            answer_s = lowest * (1 + len(load.calls))
        return not load.awaits_twin(now_s), answer_s, load.rows, load.started_s

    return sorted(range(len(loads)), key=key)


def next_due_s(loads: list[EndpointLoad], now_s: float, *, full: bool) -> float:
    """When the next batch should be taken; infinity while only an answer can tell.

    A batch that can still grow is not given to a server that would answer it far later than another, though
    it be idle; it waits for the other, but not past the time when that should be free. A full one goes
    wherever there is room.
    """
    dues_s = [load.due_s(full=full) for load in loads]
    if full or len(loads) < 2 or not all(load.known(now_s) for load in loads):  # noqa: PLR2004  # no choice
        return min(dues_s, default=float("inf"))
    under_way = [call for load in loads for call in load.calls]
    rows = max(under_way, key=lambda call: call.started_s).rows if under_way else 1
    first = loads[order(loads, rows, now_s)[0]]
    most_s = _FAR_LATER * ((first.free_in_s(now_s) or 0.0) + (first.seconds(rows) or 0.0))
    free_s = first.clock.free_s(first.calls)
    late_s = now_s if free_s is None else free_s + (first.seconds(rows) or 0.0)
    worth_s = [
        due_s
        for load, due_s in zip(loads, dues_s, strict=True)
        # What it would take for more rows than it ever got is a guess: it is given the benefit of the doubt.
        if load is first or (load.seconds(min(rows, load.fit.most_rows)) or 0.0) <= most_s
    ]
    return max(min(dues_s), min([*worth_s, late_s]))


def next_due_in_s(loads: list[EndpointLoad], now_s: float, *, full: bool) -> float:
    """Seconds until the next batch is taken, guessed where only an answer can tell; 0 where unknown."""
    due_in_s = next_due_s(loads, now_s, full=full) - now_s
    if due_in_s != float("inf"):
        return due_in_s
    frees_s = [(load.free_in_s(now_s), load.lead_s(full=full)) for load in loads]
    return min((free_s - lead_s for free_s, lead_s in frees_s if free_s is not None), default=0.0)


def slowest_cost(loads: list[EndpointLoad]) -> tuple[float, float] | None:
    """What a call costs where it costs most, (a, b) in seconds and seconds a row; None while unknown."""
    return max((cost for load in loads if (cost := load.fit.cost()) is not None), default=None)
