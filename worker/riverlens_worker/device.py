"""What the device costs: service time a + b*n of a batch of n rows, fitted from the answers. Pure."""

from __future__ import annotations

_TRUST_ROWS2 = 0.5
"""Variance of the row counts at which the fitted slope counts as much as "all cost is per row"."""


class ServiceTimeFit:
    """Least squares over recent calls, older ones fading out.

    A first call of a new row count is slow (the server traces and allocates), so each row count's first
    answer is left out. Row counts that hardly differ say nothing of `b`: the less they differ, the more of
    the cost is taken to be per row, so that the ceiling is guessed too low rather than too high.
    """

    __slots__ = ("_fade", "_nn", "_nt", "_seen", "_sn", "_st", "_weight")

    def __init__(self, fade: float = 0.98) -> None:
        self._fade = fade
        self._weight = self._sn = self._st = self._nn = self._nt = 0.0
        self._seen: set[int] = set()

    def add(self, rows: int, service_s: float) -> None:
        """One answered call of `rows` rows that took `service_s` seconds."""
        if rows not in self._seen:
            self._seen.add(rows)
            return
        fade = self._fade
        self._weight = self._weight * fade + 1
        self._sn = self._sn * fade + rows
        self._st = self._st * fade + service_s
        self._nn = self._nn * fade + rows * rows
        self._nt = self._nt * fade + rows * service_s

    def cost(self) -> tuple[float, float] | None:
        """(a, b) in seconds and seconds a row, neither negative; None before the first usable answer."""
        if self._weight == 0:
            return None
        mean_s, mean_rows = self._st / self._weight, self._sn / self._weight
        per_row = mean_s / mean_rows
        variance = max(0.0, self._nn / self._weight - mean_rows * mean_rows)
        covariance = self._nt / self._weight - mean_s * mean_rows
        b = (covariance + _TRUST_ROWS2 * per_row) / (variance + _TRUST_ROWS2)
        b = min(max(b, 0.0), per_row)
        return max(mean_s - b * mean_rows, 0.0), b

    def rows_per_s(self, max_rows: int) -> float | None:
        """Rows a second in full batches: the ceiling; None while unknown."""
        cost = self.cost()
        if cost is None:
            return None
        a, b = cost
        total = a + b * max_rows
        return max_rows / total if total > 0 else None
