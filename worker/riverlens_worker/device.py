"""What the device costs: service time a + b*n of a batch of n rows, fitted from the answers. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

_TRUST_ROWS2 = 0.5
"""Variance of the row counts at which the fitted slope counts as much as "all cost is per row"."""
_TOLD_SHARE = 0.1
"""Where it counts at most so much, a and b are told apart."""
_SURE_SHARE = 0.1
"""A slope known to within this share of the cost per row needs none of that."""
_WINDOW = 64
_OUTLIER_MADS = 5.0
_LEAST_S = 1e-4
_INSTANT_S = 1e-9
_DRIFT_CALLS, _DRIFT_SHARE = 6, 0.2
"""So many answers in a row off by more than this share, all to one side: the device has changed."""
ALIKE_CALLS, _ALIKE_SHARE = 4, 0.15
"""Fewer tell it where all are off by the same factor, to within this share."""
_KEPT = 16
"""Answers of before that then still tell what rows cost among each other."""

_RATE_CALLS = 5
"""Fewer answers tell no rate."""
_APART_CALLS = 4
"""So many answers of other row counts than the most frequent one tell what a call costs, and what a row."""

Sample = tuple[int, float]
"""Rows of a call, and its seconds."""


class ServiceTimeFit:
    """Robust least squares over the last answers: single slow calls do not count, a changed device does.

    A first call of a new row count is slow (the server traces and allocates), so each row count's first
    answer is left out. Row counts that hardly differ say nothing of `b`: the less they differ, the more the
    cost is shared out as answers of other row counts told before, rightly or not, until such come again.
    Without any, all of it is taken to be per row: better the ceiling is guessed too low than too high.
    """

    __slots__ = ("_before", "_cost", "_fresh", "_off", "_samples", "_seen", "_shape", "_since_change")

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_WINDOW)
        self._seen: set[int] = set()
        self._off: list[float] = []
        self._since_change = 2 * _WINDOW
        self._before: tuple[float, float] | None = None
        self._cost: tuple[float, float] | None = None
        self._shape: tuple[float, float] | None = None
        self._fresh = True

    def __len__(self) -> int:
        """Answers that the fit rests on."""
        return len(self._samples)

    @property
    def most_rows(self) -> int:
        """Rows of the largest call that the fit rests on; 0 while there is none."""
        return max((rows for rows, _ in self._samples), default=0)

    def add(self, rows: int, service_s: float, *, ours: bool = True) -> float:
        """One answered call of `rows` rows that took `service_s` seconds.

        `ours`: the device works on one call at a time, ours: what it takes longer, it takes itself.

        Returns how many times slower the device was found to be in all that it does; 1 where it was not.
        """
        if rows not in self._seen:
            self._seen.add(rows)
            return 1.0
        service_s = max(service_s, _INSTANT_S)
        self._since_change += 1
        # Off in proportion once more, and so soon: it was no proportion, answers of one size only looked so.
        in_proportion = ours and self._since_change > _WINDOW
        times = self._notice_change(rows, service_s, in_proportion=in_proportion)
        self._samples.append((rows, service_s))
        self._fresh = False
        return times

    def saw(self, rows: int) -> None:
        """A call of `rows` rows was answered that tells no cost: the next one of so many is no first one."""
        self._seen.add(rows)

    def forget(self) -> None:
        """No answer until now counts any more; which row counts were seen stays known."""
        self._samples.clear()
        self._off.clear()
        self._cost = self._shape = None
        self._fresh = True

    def cost(self) -> tuple[float, float] | None:
        """(a, b) in seconds and seconds a row, neither negative; None before the first usable answer."""
        if not self._fresh:
            self._cost, told = _fitted(self._samples, self._shape)
            if told and _apart(self._samples) >= _APART_CALLS:
                self._shape = self._cost
            self._fresh = True
        return self._cost

    def seconds(self, rows: int) -> float | None:
        """Device time of a batch of `rows` rows; None while unknown."""
        cost = self.cost()
        return None if cost is None else cost[0] + cost[1] * rows

    def rows_per_s(self, max_rows: int) -> float | None:
        """Rows a second in full batches: the ceiling; None while unknown."""
        total_s = self.seconds(max_rows)
        return max_rows / total_s if total_s else None

    def rate(self, least: int, most: int) -> float | None:
        """Rows a second of recent calls of `least` to `most` rows, by their median; None where few were."""
        rates = [rows / seconds for rows, seconds in self._samples if least <= rows <= most]
        return _median(rates) if len(rates) >= _RATE_CALLS else None

    def _notice_change(self, rows: int, service_s: float, *, in_proportion: bool) -> float:
        """Whether answers are all slower, or all quicker, than expected before the first of these."""
        times = _times(self._before if self._off and in_proportion else self.cost(), rows, service_s)
        if self._off and times is not None and (self._off[-1] > 1) is not (times > 1):
            self._off.clear()
            times = _times(self.cost(), rows, service_s)
        if times is None:
            self._off.clear()
            return 1.0
        if not self._off:
            self._before = self.cost()
        self._off.append(times)
        return self._changed(in_proportion=in_proportion)

    def _changed(self, *, in_proportion: bool) -> float:
        """A changed device: only the last answers count, earlier ones in proportion or not at all."""
        last = len(self._off)
        times = _median(self._off)
        alike = in_proportion and all(abs(each - times) <= _ALIKE_SHARE * times for each in self._off)
        if last < (ALIKE_CALLS if alike else _DRIFT_CALLS):
            return 1.0
        # The newest one is not among them yet.
        samples = list(self._samples)
        kept = samples[1 - last - _KEPT : 1 - last] if alike else []
        self._samples.clear()
        self._samples.extend((rows, times * seconds) for rows, seconds in kept)
        self._samples.extend(samples[1 - last :])
        self._off.clear()
        if not alike:
            if _apart(self._samples):
                # Full calls alone say nothing of proportions: whether those still hold, others tell.
                self._shape = None
            return 1.0
        self._since_change = 0
        return times


def _times(cost: tuple[float, float] | None, rows: int, service_s: float) -> float | None:
    """How many times slower than expected an answer was; None where it was about as expected."""
    expected_s = None if cost is None else cost[0] + cost[1] * rows
    if expected_s is None or abs(service_s - expected_s) <= _DRIFT_SHARE * expected_s + _LEAST_S:
        return None
    return service_s / max(expected_s, _INSTANT_S)


def _apart(samples: Sequence[Sample]) -> int:
    """How many answers are of other row counts than the most frequent one."""
    counts = Counter(rows for rows, _ in samples)
    return len(samples) - max(counts.values(), default=0)


def _fitted(samples: Sequence[Sample], shape: tuple[float, float] | None) -> tuple[tuple[float, float], bool]:
    """Two rounds: all answers, then those that the first round does not call outliers. Returns as `_line`.

    In plain Python: of 64 answers NumPy's calls alone cost four times as much.
    """
    (a, b), told = _line(samples, shape)
    residuals = [seconds - (a + b * rows) for rows, seconds in samples]
    middle = _median(residuals)
    distances = [abs(residual - middle) for residual in residuals]
    most = _OUTLIER_MADS * (_median(distances) + _LEAST_S)
    kept = [sample for sample, distance in zip(samples, distances, strict=True) if distance <= most]
    return ((a, b), told) if len(kept) == len(samples) else _line(kept, shape)


def _median(values: list[float]) -> float:
    ranked = sorted(values)
    return (ranked[len(ranked) // 2] + ranked[(len(ranked) - 1) // 2]) / 2


def _line(samples: Sequence[Sample], shape: tuple[float, float] | None) -> tuple[tuple[float, float], bool]:
    """(a, b), and whether the row counts told them apart. Where not, they are in proportion as in `shape`."""
    count = len(samples)
    mean_rows = sum(rows for rows, _ in samples) / count
    mean_s = sum(seconds for _, seconds in samples) / count
    apart = [(rows - mean_rows, seconds - mean_s) for rows, seconds in samples]
    variance = sum(rows * rows for rows, _ in apart) / count
    covariance = sum(rows * seconds for rows, seconds in apart) / count
    per_row = mean_s / mean_rows
    trust = _TRUST_ROWS2
    if variance > 0:
        spread_s2 = sum(seconds * seconds for _, seconds in apart) / count
        error2 = max(spread_s2 - covariance * covariance / variance, 0.0) / (variance * count)
        trust *= min(1.0, error2 / (_SURE_SHARE * per_row) ** 2)
    shaped_s = 0.0 if shape is None else shape[0] + shape[1] * mean_rows
    guess = mean_s * shape[1] / shaped_s if shape is not None and shaped_s > 0 else per_row
    b = (covariance + trust * guess) / (variance + trust)
    b = min(max(b, 0.0), per_row)
    return (max(mean_s - b * mean_rows, 0.0), b), trust <= _TOLD_SHARE * variance
