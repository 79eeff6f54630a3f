"""When the next call should leave. Pure.

Too early, and its frames share a smaller batch than they could have had; too late, and the device idles.
A call goes through here in these steps, and each thing learnt has one owner:

    due_s      When may the next batch leave? As many calls run side by side as there are slots (`overlap`);
               the next one leaves so long (`lead`) before a slot is expected to be free (`expectation`).
    started    It leaves. Written on it: whether a slot was free, when its answer is expected, how many calls
               are in service beside it. Now and then a batch leaves as a pair of calls.
    answered   What the answer teaches depends on what the call met:
                   a free slot     answer - start = transport + a + b*n          the cost (`device`)
                   a call of ours  answer - that one's answer = a + b*n          the cost; its wait, the lead
                   its twin        how near the two answers of a pair are        the slots; others come or not
                   others' calls   answer - start - cost = its wait              the lead
               Beside that `window` sees calls answered together that left apart: the server merges them.
    failed     Nothing is learnt of it, nor of those that were under way with it.

So calls leave in one of three ways:

    just in time   The server is ours. At once while a slot is free, else the lead before the first answer
                   expected; it is steered so that calls wait at the server for a moment only.
    in turns       Other clients' calls come between ours, each by itself. An answer does not make the server
                   free for us: the next call is held back (lead below 0), to wait there for part of a batch.
    window         The server runs what waits there as one batch. The slots are a window then: as many small
                   calls as do not delay each other, evenly spread, so that every batch finds the latest
                   frames. The window grows and shrinks with the pairs, and shrinks where delay grows.

Full batches, one more than there are slots, leave as late as keeps the device busy: until then a quiet
partition's rows may take a busy one's place. While slots or answers are uncertain, they leave at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from riverlens_worker.device import ServiceTimeFit
from riverlens_worker.expectation import TRANSPORT_S, Call, Expectation
from riverlens_worker.lead import WAIT_S, FullLead, Lead
from riverlens_worker.overlap import Overlap
from riverlens_worker.pair import Pair
from riverlens_worker.window import Window

_AT_ONCE, _AFTER_AN_ANSWER = float("-inf"), float("inf")
_UNPREDICTABLE, _PREDICTABLE = 0.5, 0.3
_PAIR_S, _SOONER_SHARE, _OVERLAP_SHARE, _OVERLAP_S = 0.002, 0.4, 0.15, 0.001
_QUICKER_SHARE, _QUICKER_S = 0.05, 0.0005
_OURS_SHARE, _UNHELD_SHARE = 0.2, 0.1
_SPREAD = 42
"""The fewer are under way, the sooner the next one of a window leaves: six or seven in the time of one."""


class DispatchClock:
    """When one server gets its next call. Times are monotonic seconds, given by the caller.

    Attributes:
        expectation: what its answers should be like.
        overlap: how many calls it works on side by side.
        window: whether it merges them.
        lead, full_lead: how long before an expected answer the next call leaves; how much sooner a full one.
        eager: answers come unexpectedly.
    """

    def __init__(self, most_calls: int = 2, spread: float = 0.5) -> None:
        """`most_calls` under way at once; 1: no pair is ever sent. `spread`: see `Overlap`."""
        self.expectation = Expectation()
        self.overlap = Overlap(most_calls, spread)
        self.window = Window()
        self.lead, self.full_lead = Lead(), FullLead()
        self.eager = False
        self._queued: list[Call] = []
        self._first: Call | None = None
        self._answered_s = self._failed_s = self._started_s = float("-inf")
        self._full_rows = 0

    @property
    def fit(self) -> ServiceTimeFit:
        """What a device costs."""
        return self.expectation.fit

    @property
    def slots(self) -> int:
        """Calls that the server works on side by side."""
        return self.overlap.slots

    def rows_per_s(self, rows: int) -> float | None:
        """What the server can do in calls of `rows` rows; None while unknown."""
        one = self.fit.rows_per_s(rows)
        return one if one is None or self.window.merged else one * self.slots

    def _slots_free_s(self, calls: Sequence[Call]) -> list[float] | None:
        since_s = self._answered_s if self.slots == 1 else float("-inf")
        return self.expectation.slots_free_s(calls, self.slots, since_s)

    def free_s(self, calls: Sequence[Call]) -> float | None:
        """When a slot is free, given the calls under way, oldest first; None while unknown."""
        free_s = self._slots_free_s(calls)
        return None if free_s is None else min(free_s)

    def pair_due(self, calls: Sequence[Call]) -> bool:
        """Whether the next batch should leave as two calls at once."""
        return len(calls) < self.slots and self._wants_pair()

    def _wants_pair(self) -> bool:
        return self.overlap.pair_due(error=self.expectation.error, told=len(self.fit))

    def due_s(self, calls: Sequence[Call], *, full: bool) -> float:
        """When the next call should leave; minus infinity for at once, infinity for after an answer.

        `full`: a batch waits that cannot grow any more, so nothing is gained by keeping it.
        """
        if len(calls) > self.slots or (full and self._enough(calls)):
            return _AFTER_AN_ANSWER
        if len(calls) < self.slots:
            return self._due_on_free_slot_s(calls, full=full)
        if self._wants_pair():
            return _AFTER_AN_ANSWER
        if self.eager or self.window.merged or (full and not self.overlap.settled):
            return _AT_ONCE
        if not full and (not self.expectation.sure or self.expectation.look_due or self.lead.holds):
            return _AFTER_AN_ANSWER
        free_s = self.free_s(calls)
        early_s = self.full_lead.seconds(self.fit.seconds(self._full_rows) or 0.0) if full else 0.0
        return _AT_ONCE if free_s is None else free_s - self.lead.seconds - early_s

    def _due_on_free_slot_s(self, calls: Sequence[Call], *, full: bool) -> float:
        if full:
            return _AT_ONCE
        if self.window.merged and calls:
            return self._started_s + len(calls) / _SPREAD * self.expectation.free_took_s
        if len(calls) == self.slots - 1 and self.overlap.below and self._wants_pair():
            return _AFTER_AN_ANSWER
        return self._answered_s - self.lead.seconds if self.lead.holds else _AT_ONCE

    def _enough(self, calls: Sequence[Call]) -> bool:
        """Whether two full batches' worth waits in a window: more would only grow old at the server."""
        return self.window.merged and sum(call.rows for call in calls) > 2 * self._full_rows

    def started(self, call: Call, before: Sequence[Call], *, full: bool) -> None:
        """A call leaves while those of `before` are under way."""
        call.free = len(before) < self.slots
        call.timed = not full and not self.eager
        call.wanting = self.lead.wanting(call.ready_s, self.free_s(before))
        call.beside = self.expectation.beside(call, before)
        free_s = self._slots_free_s([*before, call])
        call.expected_s = None if free_s is None else free_s[-1]
        if full:
            self._full_rows = call.rows
        call.held = self.lead.held_until_due(call.started_s - self._answered_s)
        on_purpose = self.overlap.shared or self.expectation.look_due or self._wants_pair()
        if call.free and self.slots == 1 and call.held and not (on_purpose or call.wanting):
            self.lead.came_late()
        if not call.free:
            self._queued.append(call)
        self._enter_pair(call, before)
        self._started_s = call.started_s
        self.expectation.left(free=call.free)

    def awaits_twin(self, calls: Sequence[Call], now_s: float) -> bool:
        """Whether the newest call is the first one of a pair, and the second one may still leave."""
        return self._first is not None and calls[-1:] == [self._first] and now_s - self._started_s < _PAIR_S

    def _enter_pair(self, call: Call, before: Sequence[Call]) -> None:
        if self.awaits_twin(before, call.started_s):
            call.twin, before[-1].twin = before[-1], call
            self._first = None
        else:
            self._first = call if self.pair_due(before) else None
            self.overlap.left(pair=self._first is not None)

    def answered(self, call: Call, now_s: float) -> None:
        """A call was answered."""
        call.answered_s = now_s
        took_s, self._answered_s = now_s - call.started_s, now_s
        self._next_begins(call, now_s)
        if call.started_s <= self._failed_s:
            # How long the device was busy with the call that failed beside it, nobody knows.
            return
        self._watch_window(call)
        if call.twin is None:
            self._judge_prediction(call, now_s)
        if call.twin is not None and call.twin.answered_s is not None:
            self._paired(call, call.twin, now_s)
        elif self.overlap.shared:
            self._took_turn(call, took_s, now_s)
        elif call.free or call.begun_s is None:
            self.expectation.took_free(call.rows, took_s, alone=self.slots == 1, ours=self.overlap.ours)
        elif not self._came_too_soon(call, took_s):
            self._took_queued(call, took_s, now_s - call.begun_s)

    def failed(self, now_s: float, *, oldest: bool) -> None:
        """A call failed: nothing is learnt of it nor of those under way; of the oldest the device is free."""
        self._failed_s = now_s
        self._queued.clear()
        if oldest:
            self._answered_s = now_s

    def over(self, call: Call) -> None:
        """A call is over; one that was never asked, as its frames were given up, has no place in the line."""
        if call in self._queued:
            self._queued.remove(call)

    def _next_begins(self, call: Call, now_s: float) -> None:
        self.over(call)
        waiting = next((queued for queued in self._queued if queued.begun_s is None), None)
        if waiting is not None:
            waiting.begun_s = now_s

    def _judge_prediction(self, call: Call, now_s: float) -> None:
        self.expectation.judge(call, now_s)
        unexpected = self.expectation.error > (_PREDICTABLE if self.eager else _UNPREDICTABLE)
        self.eager = unexpected and self.slots == 1 and not self.overlap.shared

    def _took_queued(self, call: Call, took_s: float, gap_s: float) -> None:
        waited_s = self.expectation.waited_s(call, took_s)
        device_s = self.fit.seconds(call.rows)
        if waited_s is None or waited_s > WAIT_S / 2 or gap_s < (device_s or 0.0):
            # The device went from the call before straight to this one; a gap is never less than the cost.
            self.expectation.learn(call.rows, gap_s, ours=self.overlap.ours)
        if device_s is not None and self.overlap.ours and not call.wanting:
            self.lead.stood_idle(gap_s - device_s)
        if waited_s is not None and call.timed:
            self.lead.waited(waited_s, wanting=call.wanting)
        elif waited_s is not None and call.rows == self._full_rows and self.overlap.ours and not self.eager:
            self.full_lead.answered(gap_s, waited_s)

    def _came_too_soon(self, call: Call, took_s: float) -> bool:
        """Whether a queued call did not wait for the one before it, as it seems: then it tells no cost."""
        alone_s, device_s = self.expectation.alone_s(call.rows), self.fit.seconds(call.rows)
        if call.expected_s is None or alone_s is None or device_s is None:
            return False
        wait_s, waited_s = call.expected_s - call.started_s - alone_s, took_s - alone_s
        # One that takes less than one alone takes is not side by side: the device is quicker than known.
        quicker = waited_s < -_QUICKER_SHARE * alone_s - _QUICKER_S
        if quicker or waited_s >= _SOONER_SHARE * wait_s or wait_s < _OVERLAP_SHARE * device_s + _OVERLAP_S:
            return False
        return call.beside != self.slots or self.overlap.hurry()

    def _took_turn(self, call: Call, took_s: float, now_s: float) -> None:
        """Steer towards the wanted wait, quickly back where the server stood idle or the batch got full."""
        device_s = self.fit.seconds(call.rows)
        if device_s is None:
            return
        self.expectation.took_in_turn(call.rows, took_s)
        waited_s = self.expectation.waited_s(call, took_s) or 0.0
        if call.begun_s is not None:
            explained = abs(now_s - call.begun_s - device_s) < _OURS_SHARE * device_s
            alone = self.overlap.queued_in_turn(explained=explained)
        else:
            unheld = self.lead.seconds > -max(_UNHELD_SHARE * device_s, _OVERLAP_S)
            alone = self.overlap.free_in_turn(calm=unheld and waited_s < _OURS_SHARE * device_s + TRANSPORT_S)
        if alone:
            self._forget()
        else:
            self.lead.waited_in_turn(waited_s, device_s, held=call.held, timed=call.timed)

    def _paired(self, late: Call, early: Call, now_s: float) -> None:
        """Both of a pair are answered."""
        gap_s = now_s - (early.answered_s or now_s)
        in_order = early.started_s <= late.started_s
        second = late if in_order else early
        if second.beside is None:
            self.overlap.told_nothing()
        else:
            uneven_s = (self.fit.cost() or (0.0, 0.0))[1] * (late.rows - early.rows)
            device_s, alone_s = self.fit.seconds(late.rows), self.expectation.alone_s(late.rows)
            took_s, unexpected = now_s - late.started_s, self.expectation.error > _UNPREDICTABLE
            full = 0 < self._full_rows <= late.rows + early.rows
            pair = Pair(gap_s, uneven_s, took_s, device_s, alone_s, second.beside, unexpected, full)
            slots, before = self.slots, self.expectation.free_line
            if self.overlap.judge(pair):
                self._forget()
                self.window.resized(before if self.slots > slots else None)
                if not self.overlap.shared:
                    return
        if in_order and self.slots == 1:
            self.expectation.learn(late.rows, gap_s, ours=self.overlap.ours)

    def _watch_window(self, call: Call) -> None:
        if self.slots == 1:
            self.window.reset()
            return
        cost, merged = self.fit.cost(), self.window.merged
        self.window.answered(call, 0.0 if cost is None else cost[1])
        if self.window.merged and not merged:
            self.overlap.widen()
        elif merged and not self.window.merged:
            self.overlap.narrow()
            self._forget()
        if self.window.grew(self.expectation.free_line, len(self.fit)):
            self.overlap.delay_grew()
            self._forget()

    def _forget(self) -> None:
        """Nothing learnt of the cost counts any more."""
        self.expectation.forget()
        self.lead.forget()
        self.eager = False
        self._queued.clear()
