"""Which load to try next with which settings, and which settings are best. Pure.

The first settings are driven up to the highest load that they carry within the target; all others must then
carry a little more than that, or are out after a single run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from riverlens_worker.tune.plan import Candidate, Server

STEP = 1.03
"""Highest carried and lowest failed load end this near; others must carry so much more than the best."""
_FIRST_STEP, _MOST_STEP = 1.06, 1.15
_LEAST_SHARE = 0.05
_ANSWERED = 0.99
_LATE_SHARE = 0.05
_NEAR, _NEAR_WHILE_LATE = 1.25, 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """One run with arrivals on a schedule, whatever became of the frames before.

    Attributes:
        per_s: frames a second that were due.
        answered: part of them that was answered within the run.
        p50_ms, p99_ms: from when a frame was due to its answer.
        mean_rows: of the calls.
        late_ms: the longest that sending itself lagged behind the schedule.
        cpu: cores that this process kept busy.
    """

    per_s: float
    answered: float
    p50_ms: float
    p99_ms: float
    mean_rows: float
    late_ms: float = 0.0
    cpu: float = 0.0

    def within(self, target_ms: float) -> bool:
        """Whether the load was carried."""
        return self.answered >= _ANSWERED and self.p99_ms <= target_ms

    def doubtful(self, target_ms: float) -> bool:
        """Whether it failed so narrowly that chance, or a delay of this machine's own, may have done it."""
        late = self.late_ms > _LATE_SHARE * target_ms
        most_ms = (_NEAR_WHILE_LATE if late else _NEAR) * target_ms
        return not self.within(target_ms) and self.answered >= _ANSWERED and self.p99_ms <= most_ms


@dataclass(frozen=True, slots=True)
class Trial:
    """What to run next."""

    candidate: Candidate
    per_s: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found.

    Attributes:
        chosen: the settings.
        best: the highest load that they carried within the target.
        server: what was measured of it.
        tried: how many settings were run.
        took_s: how long it all took.
        slow_first: the first call of a size was far slower than the later ones.
        padding: sizes that the server pads, and to what.
    """

    chosen: Candidate
    best: Load
    server: Server
    tried: int
    took_s: float
    slow_first: bool
    padding: dict[int, int]


class Search:
    """Tells the next trial until nothing is left that could be better.

    Attributes:
        leader: the settings that carried most so far.
        best: the highest load that they carried; None while none was.
        nearest: where none was: the lowest p99 seen, and with which settings.
        tried: how many settings were run.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        first_per_s: float,
        target_ms: float,
        rivals: Callable[[Candidate, float], Sequence[Candidate]] | None = None,
    ) -> None:
        """`rivals`: what else may beat these settings at that load, asked once all candidates were tried."""
        self.leader = candidates[0]
        self.best: Load | None = None
        self.nearest: tuple[Load, Candidate] | None = None
        self._rest = deque(candidates[1:])
        self._run: set[Candidate] = set()
        self._rivals = rivals
        self._target_ms = target_ms
        self._first_per_s = first_per_s
        self._failed_per_s = float("inf")
        self._step = _FIRST_STEP

    @property
    def tried(self) -> int:
        """Settings that were run at least once."""
        return len(self._run)

    def next(self) -> Trial | None:
        """The next run; None at the end."""
        per_s = self._climb()
        if per_s is not None:
            return Trial(self.leader, per_s)
        rival = self._rival()
        if rival is None:
            return None
        least_per_s = _LEAST_SHARE * self._first_per_s
        return Trial(rival, STEP * self.best.per_s if self.best else least_per_s)

    def tell(self, trial: Trial, load: Load) -> None:
        """What a run that `next` told has shown."""
        self._run.add(trial.candidate)
        if self.nearest is None or load.p99_ms < self.nearest[0].p99_ms:
            self.nearest = (load, trial.candidate)
        carried = load.within(self._target_ms)
        if trial.candidate != self.leader:
            self._rest.popleft()
            if carried:
                if trial.candidate.rows != self.leader.rows:
                    # What else may beat the new one, it tells itself.
                    self._rest.clear()
                self.leader, self.best = trial.candidate, load
                self._failed_per_s, self._step = float("inf"), _FIRST_STEP
        elif carried:
            self.best = load
        else:
            self._failed_per_s = min(self._failed_per_s, trial.per_s)

    def _climb(self) -> float | None:
        """The leader's next load; None where its highest is known, or that it carries none."""
        if self.best is None:
            if self._failed_per_s == float("inf"):
                return self._first_per_s
            if self._failed_per_s <= _LEAST_SHARE * self._first_per_s:
                return None
            per_s = max(self._failed_per_s / self._step, _LEAST_SHARE * self._first_per_s)
            self._step **= 2
            return per_s
        if self._failed_per_s == float("inf"):
            per_s = self.best.per_s * self._step
            self._step = min(self._step**2, _MOST_STEP)
            return per_s
        if self._failed_per_s / self.best.per_s <= STEP:
            return None
        return sqrt(self._failed_per_s * self.best.per_s)

    def _rival(self) -> Candidate | None:
        if not self._rest and self.best is not None and self._rivals is not None:
            others = self._rivals(self.leader, STEP * self.best.per_s)
            self._rest.extend(one for one in others if one not in self._run)
        return self._rest[0] if self._rest else None
