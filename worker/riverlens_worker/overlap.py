"""What a server does with calls that overlap, learnt from pairs. Pure.

A pair is one batch sent as two calls at once. Nobody else's call comes between them, so the time between
their two answers tells what the answers of single calls cannot:

    as long as the second one costs   calls run one after the other, and the cost known is right; where other
                                      answers are unexpected all the same, other clients' calls come between
    much less, but not nothing        so too, unless for a moment; they were taken for part of the cost
    nothing                           calls run side by side, on several devices or in one batch of the
                                      server's own: one more may be under way without delaying the others

A pair costs the device a call more, so the better what is known explains the answers, the fewer are sent;
after an odd answer one follows soon, the next ones at half the greatest distance so far at least. Answers are
odd on a busy machine too: the more such pairs only confirmed what was known, the less soon the next follows.
"""

from __future__ import annotations

from riverlens_worker.pair import Pair

_FIRST_AFTER = 8
_SOON_AFTER = 2
_SUSPECT, _VERY_ODD = 0.15, 0.5
"""Errors from which on answers are odd, and too odd for a busy machine to be the cause."""
_SUSPECT_AFTER = 16
_MOST_BETWEEN = 1024
"""Calls between two pairs."""
_MOST_WARY = 64
"""Calls after a pair in which answers send no other for being odd, but for those that are very odd."""
_SECOND_SHARED, _MOST_BETWEEN_SHARED = 48, 128
"""Where others share the server, on average: each of their pairs costs all of them, so they come apart."""
_SETTLED, _RARER = 32, 16
"""Pairs so far apart have confirmed the cost; from then on each one is so many times rarer than the last."""
_UNSURE_TIMES = 1.5
_TELL_COST, _TELL_AFTER = 2, 4
"""Pairs: that which showed others, and one with a large second call; until then one comes after so many
calls, because turns cannot be taken."""
_EXPLAINED_CALLS, _CALM_FREE_CALLS = 8, 64
"""In a row: then nobody else's calls come between ours."""
_FEWER_PAIRS, _SHARED_PAIRS = 3, 2
"""Pairs in a row that must say the same."""
_COINCIDENCE = 0.03
"""Pairs answered at once tell of a slot more where it is less likely that they all were by coincidence."""
_CALM_CALLS = 128
_SOONER_APART = 24
"""Calls between two such pairs, at most, where pairs have confirmed the cost, and half the distance of those:
what went up with a machine's bad moment comes down after it."""
_DOUBT_AFTER, _MOST_DOUBT_AFTER = 1024, 8192
"""Calls in the shared state, each time twice as many: then it is tried whether others are there at all."""


class Overlap:
    """One server's slots. A pair due is sent when fewer calls than slots are under way.

    Attributes:
        slots: calls that it works on side by side, as far as it was seen.
        shared: other clients' calls come between ours.
    """

    __slots__ = (
        "_alarmed", "_apart", "_below", "_between", "_by_chance", "_calls", "_calm", "_calm_next",
        "_confirmed", "_doubt_after", "_explained", "_fewer", "_free_calm", "_in_turn", "_most", "_no_twin",
        "_off", "_second_small", "_since_sooner", "_sooner", "_sure", "_unmerged", "_wary", "shared", "slots",
    )  # fmt: skip

    def __init__(self, most_slots: int, spread: float = 0.5) -> None:
        """`most_slots`: 1 for never a pair. `spread`, from 0 to 1, differs among workers of one server."""
        self.slots = self._unmerged = 1
        self.shared = False
        self._most = most_slots
        self._between = _FIRST_AFTER
        self._apart = 0.5 + spread
        self._confirmed = self._second_small = False
        self._calls = self._wary = 0
        self._alarmed = self._below = False
        self._by_chance = 1.0
        self._fewer = self._sooner = self._off = 0
        self._sure = self._since_sooner = 0
        self._explained = self._free_calm = 0
        self._in_turn, self._doubt_after = 0, _DOUBT_AFTER
        self._no_twin = False
        self._calm, self._calm_next = 0, _CALM_CALLS

    def pair_due(self, *, error: float, told: int = 0) -> bool:
        """Whether the next batch should leave as a pair.

        `error`: how far answers are off, in device times, which they are in any case where others share the
        server; but there only pairs tell the cost: `told` is how many did.
        """
        if self._no_twin or self._most == 1:
            return False
        if self.shared:
            soon, patience = told < _TELL_COST, _TELL_AFTER
        else:
            soon = error > _SUSPECT
            patience = _SUSPECT_AFTER if error > _VERY_ODD else max(_SUSPECT_AFTER, self._wary)
        return self._calls >= (min(self._between, patience) if soon else self._between)

    def first_rows(self, rows: int) -> int:
        """How many of `rows` rows the first call of a pair gets; asked once for each batch.

        Where only pairs tell the cost, each that of its second call, that is now large, now small. One row
        has no twin: that call is no pair, and the next batch is to be one.
        """
        self._no_twin = rows == 1
        small = -(-rows // 4)
        return (max(1, rows - small) if self._second_small else small) if self.shared else -(-rows // 2)

    @property
    def below(self) -> bool:
        """Whether the next pair should leave one slot free: only so can it tell that the last slot is one.

        Where all are taken, the second call waits whether there is one slot too many or not.
        """
        return self.slots > 1 and (self._fewer > 0 or (self._below and self._between > _FIRST_AFTER))

    @property
    def settled(self) -> bool:
        """Whether pairs have confirmed again and again how many slots there are."""
        return not self.shared and self._between >= _SETTLED

    @property
    def ours(self) -> bool:
        """Whether it works on one call at a time, and all of them are ours."""
        return self.slots == 1 and self.settled

    def left(self, *, pair: bool) -> None:
        """A call left; `pair`: as the first one of a pair."""
        self._no_twin = False
        self._alarmed |= pair and self._calls < self._between
        self._calls = 0 if pair else self._calls + 1
        self._since_sooner += 1
        self._below ^= pair
        self._calm = max(0, self._calm - 1)

    def hurry(self) -> bool:
        """An answer came sooner than one after the other allows; returns whether that is believed.

        Not for a while after pairs denied it.
        """
        if self._calls < self._wary and self._between > _SOON_AFTER:
            return False
        self._between, self._alarmed = _SOON_AFTER, True
        return True

    def told_nothing(self) -> None:
        """A pair left when nobody could say what was in service beside it: so may the next one."""
        self._between, self._alarmed = max(self._between, min(2 * self._between, _SUSPECT_AFTER)), False

    def judge(self, pair: Pair) -> bool:
        """Learn from a pair; whether what was learnt of the cost until now no longer counts."""
        self._second_small = not self._second_small
        alarmed, self._alarmed = self._alarmed, False
        if pair.together:
            return self._judge_together(pair)
        self._by_chance = 1.0
        if pair.beside < self.slots:
            self._fewer += 1
            self._between = _SOON_AFTER
            if self._fewer >= _FEWER_PAIRS:
                self._resize(max(1, pair.beside))
                return True
            return False
        return self._judge_apart(pair, alarmed=alarmed)

    def _judge_apart(self, pair: Pair, *, alarmed: bool) -> bool:
        if pair.gap_s < _UNSURE_TIMES * pair.nearness_s:
            # Reading the first answer may take so long: neither at once nor one after the other.
            self._between = max(self._between, _FIRST_AFTER)
            return False
        if self.shared and self._confirmed and pair.off:
            return self._doubted()
        self._off = 0
        if self.slots > 1 or self.shared or not pair.sooner:
            self._sooner = 0
            if self.slots == 1 and not self.shared:
                # One that odd answers had sent showed nothing new.
                self._wary = (
                    min(max(_SUSPECT_AFTER, 2 * self._wary), _MOST_WARY) if alarmed else self._wary // 2
                )
            self._confirm()
            return False
        self._between = _SOON_AFTER
        if self._sooner and self._since_sooner < min(self._sure // 2, _SOONER_APART):
            return False
        self._sooner, self._since_sooner = self._sooner + 1, 0
        if self._sooner < _SHARED_PAIRS:
            return False
        self.shared, self._sure, self._sooner, self._off = True, 0, 0, 0
        self._explained = self._free_calm = self._in_turn = 0
        self._confirmed = self._second_small = False
        self._wary, self._between = 0, _FIRST_AFTER
        return True

    def _doubted(self) -> bool:
        """A pair in the shared state took another time than known: soon another one, that decides."""
        self._off += 1
        self._between = _SOON_AFTER
        if self._off < _SHARED_PAIRS:
            return False
        self._off = self._explained = self._free_calm = 0
        self._confirmed, self._between = False, _FIRST_AFTER
        return True

    def queued_in_turn(self, *, explained: bool) -> bool:
        """A call in the shared state was answered that stood behind one of ours; whether the server is ours.

        `explained`: that one and its own cost are all that it took.
        """
        self._explained = self._explained + 1 if explained else 0
        return self._tried_alone(shown=self._explained >= _EXPLAINED_CALLS)

    def free_in_turn(self, *, calm: bool) -> bool:
        """As `queued_in_turn`, of one that stood behind none; `calm`: neither held back nor waiting."""
        self._free_calm = self._free_calm + 1 if calm else 0
        return self._tried_alone(shown=self._free_calm >= _CALM_FREE_CALLS)

    def _tried_alone(self, *, shown: bool) -> bool:
        """The server is ours again: that was shown, or nothing has shown it for so long that it is tried."""
        self._in_turn += 1
        if not shown and self._in_turn < self._doubt_after:
            return False
        if not shown:
            self._doubt_after = min(2 * self._doubt_after, _MOST_DOUBT_AFTER)
        self.ours_again()
        return True

    def ours_again(self) -> None:
        """No other client's calls come between ours any more."""
        self.shared = False
        self._between = _FIRST_AFTER

    def delay_grew(self) -> None:
        """With the last slot more each call takes longer: take it back, and try none for a good while."""
        self._calm = self._calm_next
        self._calm_next *= 2
        self._resize(max(1, self.slots - 1))

    def widen(self) -> None:
        """The server merges calls: as many as may be under way do not delay each other."""
        self._unmerged = self.slots
        self._resize(self._most)

    def narrow(self) -> None:
        """The server merges no calls, or none any more: it has the slots again that were seen before."""
        self._resize(self._unmerged)

    def _judge_together(self, pair: Pair) -> bool:
        self._sooner = 0
        if pair.beside < self.slots:
            self._fewer = 0
        elif pair.beside == self.slots < self._most:
            if self._calm:
                # Not to be tried for a while, but as soon as that is over.
                self._between = max(_FIRST_AFTER, self._calm)
                return False
            if pair.unhindered:
                return self._shows_one_more(pair)
        self._confirm()
        return False

    def _shows_one_more(self, pair: Pair) -> bool:
        self._by_chance *= pair.coincidence
        self._between = _SOON_AFTER
        if self._by_chance >= _COINCIDENCE:
            return False
        self._resize(self.slots + 1)
        return True

    def _confirm(self) -> None:
        if self.shared:
            self._between = int(self._apart * (_MOST_BETWEEN_SHARED if self._confirmed else _SECOND_SHARED))
            self._confirmed = True
        else:
            times = _RARER if self.ours else 2
            self._between = min(max(_FIRST_AFTER, times * self._between, self._sure // 2), _MOST_BETWEEN)
            self._sure = max(self._sure, self._between)
            if self.settled:
                self._doubt_after = _DOUBT_AFTER

    def _resize(self, slots: int) -> None:
        self.slots, self.shared, self._sure = slots, False, 0
        self._wary = 0
        self._by_chance = 1.0
        self._fewer = self._sooner = self._off = 0
        self._between = _FIRST_AFTER
