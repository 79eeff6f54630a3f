"""How long to wait before trying again, and how long all of it may take. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays with full jitter, from `first_ms` up to `limit_ms`."""

    first_ms: float = 100.0
    limit_ms: float = 2_000.0
    factor: float = 2.0

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failure number `attempt` (from 1); `chance` is uniform in 0..1.

        Half of the delay is certain, so that a failing server is never asked in a tight loop.
        """
        ceiling_ms = min(self.limit_ms, self.first_ms * self.factor ** min(attempt - 1, 30))
        return ceiling_ms * (0.5 + chance / 2) / 1000


@dataclass(frozen=True, slots=True)
class Deadline:
    """One budget of time, shared by every step of a stop or a revoke."""

    at_s: float

    @classmethod
    def after(cls, timeout_s: float, now_s: float) -> Deadline:
        """The deadline `timeout_s` from `now_s` (monotonic)."""
        return cls(now_s + timeout_s)

    def remaining_s(self, now_s: float) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - now_s)
