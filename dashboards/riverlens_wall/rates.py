"""Counts over the last seconds, in whole seconds. Pure: time is a parameter."""

from __future__ import annotations

from collections import deque


class Meter:
    """Counts things of the last `window_s` whole seconds; memory is bounded by the window.

    Args:
        window_s: how far back it looks, seconds, at least 1.
    """

    def __init__(self, window_s: int) -> None:
        self._window_s = window_s
        self._buckets: deque[tuple[int, float, int]] = deque()
        self._first_s: int | None = None

    def add(self, now_s: float, amount: float = 1.0) -> None:
        """Note something of this size, now; `now_s` never goes back."""
        second = int(now_s)
        if self._first_s is None:
            self._first_s = second
        if self._buckets and self._buckets[-1][0] == second:
            _, total, count = self._buckets[-1]
            self._buckets[-1] = (second, total + amount, count + 1)
        else:
            self._buckets.append((second, amount, 1))
        self._forget(second)

    def per_second(self, now_s: float) -> float:
        """The amounts a second over the last whole seconds; 0.0 before the first one has passed."""
        second = int(now_s)
        self._forget(second)
        if self._first_s is None:
            return 0.0
        passed = min(self._window_s, second - self._first_s)
        if passed < 1:
            return 0.0
        whole = sum(total for at, total, _ in self._buckets if second - passed <= at < second)
        return whole / passed

    def total(self, now_s: float) -> float:
        """The amounts of the window and of the second that runs."""
        self._forget(int(now_s))
        return sum(total for _, total, _ in self._buckets)

    def mean(self, now_s: float) -> float | None:
        """The mean amount; None where nothing came."""
        self._forget(int(now_s))
        count = sum(count for _, _, count in self._buckets)
        return sum(total for _, total, _ in self._buckets) / count if count else None

    def _forget(self, second: int) -> None:
        while self._buckets and self._buckets[0][0] < second - self._window_s:
            self._buckets.popleft()
