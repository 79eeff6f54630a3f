"""What a batch costs on a device. Pure; shared by the simulator and the oracle, so both mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Service time a + b*n of a batch of n rows.

    Attributes:
        a_ms: of every batch, milliseconds.
        b_ms: of every row, milliseconds.
    """

    a_ms: float
    b_ms: float

    def service_s(self, rows: int, factor: float = 1.0) -> float:
        """Seconds that a batch of `rows` rows keeps a device busy; `factor` 3 is a device 3 times slower."""
        return (self.a_ms + self.b_ms * rows) * factor / 1000

    def ceiling(self, rows: int, devices: int = 1) -> float:
        """Rows a second of devices that never wait and get batches of `rows` rows."""
        return devices * rows / self.service_s(rows)


@dataclass(frozen=True, slots=True)
class Speeds:
    """How much slower the device is, and from when on: (time in seconds, factor), rising in time."""

    changes: Sequence[tuple[float, float]] = ()

    def factor(self, at_s: float) -> float:
        """The factor of a batch that begins at `at_s`."""
        found = 1.0
        for since_s, factor in self.changes:
            if since_s <= at_s:
                found = factor
        return found
