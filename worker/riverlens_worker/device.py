"""What the device costs: service time a + b*n of a batch of n rows, fitted from the answers. Pure."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

_TRUST_ROWS2 = 0.5
"""Variance of the row counts at which the fitted slope counts as much as "all cost is per row"."""
_SURE_SHARE = 0.1
"""A slope known to within this share of the cost per row needs none of that."""
_WINDOW = 64
_OUTLIER_MADS = 5.0
_LEAST_S = 1e-4
_DRIFT_CALLS = 6
_DRIFT_SHARE = 0.2
"""So many answers in a row off by more than this share, all to one side: the device has changed."""

Floats = NDArray[np.float64]


class ServiceTimeFit:
    """Robust least squares over the last answers: single slow calls do not count, a changed device does.

    A first call of a new row count is slow (the server traces and allocates), so each row count's first
    answer is left out. Row counts that hardly differ say nothing of `b`: the less they differ, the more of
    the cost is taken to be per row, so that the ceiling is guessed too low rather than too high.
    """

    __slots__ = ("_cost", "_fresh", "_off", "_samples", "_seen")

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float]] = deque(maxlen=_WINDOW)
        self._seen: set[int] = set()
        self._off: list[bool] = []
        self._cost: tuple[float, float] | None = None
        self._fresh = True

    def __len__(self) -> int:
        """Answers that the fit rests on."""
        return len(self._samples)

    @property
    def most_rows(self) -> int:
        """Rows of the largest call that the fit rests on; 0 while there is none."""
        return max((rows for rows, _ in self._samples), default=0)

    def add(self, rows: int, service_s: float) -> None:
        """One answered call of `rows` rows that took `service_s` seconds."""
        if rows not in self._seen:
            self._seen.add(rows)
            return
        self._notice_drift(rows, service_s)
        self._samples.append((rows, service_s))
        self._fresh = False

    def forget(self) -> None:
        """No answer until now counts any more; which row counts were seen stays known."""
        self._samples.clear()
        self._off.clear()
        self._cost, self._fresh = None, True

    def cost(self) -> tuple[float, float] | None:
        """(a, b) in seconds and seconds a row, neither negative; None before the first usable answer."""
        if not self._fresh:
            self._cost = _fitted(np.array(self._samples, dtype=np.float64))
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

    def _notice_drift(self, rows: int, service_s: float) -> None:
        """Answers that are all slower, or all quicker, than they were: only they count from now on."""
        expected_s = self.seconds(rows)
        if expected_s is None or abs(service_s - expected_s) <= _DRIFT_SHARE * expected_s + _LEAST_S:
            self._off.clear()
            return
        slower = service_s > expected_s
        if self._off and self._off[-1] is not slower:
            self._off.clear()
        self._off.append(slower)
        if len(self._off) >= _DRIFT_CALLS:
            kept = list(self._samples)[1 - _DRIFT_CALLS :]
            self._samples.clear()
            self._samples.extend(kept)
            self._off.clear()
            self._fresh = False


def _fitted(samples: Floats) -> tuple[float, float]:
    """Two rounds: all answers, then those that the first round does not call outliers."""
    a, b = _line(samples)
    residuals = samples[:, 1] - (a + b * samples[:, 0])
    middle = np.median(residuals)
    spread = np.median(np.abs(residuals - middle)) + _LEAST_S
    return _line(samples[np.abs(residuals - middle) <= _OUTLIER_MADS * spread])


def _line(samples: Floats) -> tuple[float, float]:
    rows, seconds = samples[:, 0], samples[:, 1]
    mean_rows, mean_s = float(rows.mean()), float(seconds.mean())
    per_row = mean_s / mean_rows
    variance = float(rows.var())
    covariance = float(((rows - mean_rows) * (seconds - mean_s)).mean())
    trust = _TRUST_ROWS2
    if variance > 0:
        residuals = seconds - mean_s - covariance / variance * (rows - mean_rows)
        error2 = float(residuals.var()) / (variance * len(rows))
        trust *= min(1.0, error2 / (_SURE_SHARE * per_row) ** 2)
    b = (covariance + trust * per_row) / (variance + trust)
    b = min(max(b, 0.0), per_row)
    return max(mean_s - b * mean_rows, 0.0), b
