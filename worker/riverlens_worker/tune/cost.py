"""What calls cost: by size, padded or not, and how many the server works on at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from riverlens_worker.device import ServiceTimeFit

_TOGETHER_S = 0.001
"""Answers no further apart were one batch of the server's: calls of unlike sizes end apart by themselves."""
_SAME = 0.02
_CLEAR = 0.05
_SPREADS = 6.0
_SLOW_FIRST = 2.0
_SLOW_FIRST_S = 0.02


@dataclass(slots=True)
class CallTimes:
    """Calls of several sizes, sent one at a time; a size's first one is warm-up and not counted.

    Attributes:
        fit: a + b*n, as the worker fits it.
    """

    fit: ServiceTimeFit = field(default_factory=ServiceTimeFit)
    _first: dict[int, float] = field(default_factory=dict)
    _later: dict[int, list[float]] = field(default_factory=dict)

    def add(self, rows: int, seconds: float) -> None:
        """One answered call."""
        self.fit.add(rows, seconds)
        if rows in self._first:
            self._later.setdefault(rows, []).append(seconds)
        else:
            self._first[rows] = seconds

    def medians(self) -> dict[int, float]:
        """Seconds by rows, rising."""
        return {rows: median(times) for rows, times in sorted(self._later.items())}

    def spread(self) -> float:
        """How far single calls lie from their size's median, as a part of it; usual for all sizes."""
        usual = self.medians()
        shares = [abs(one - usual[rows]) / usual[rows] for rows in usual for one in self._later[rows]]
        return median(shares) if shares else 0.0

    def slow_first_sizes(self) -> list[int]:
        """Sizes whose first call took far longer than the later ones: the server made ready for them."""
        usual = self.medians()
        return [
            rows
            for rows, first_s in sorted(self._first.items())
            if rows in usual and first_s > _SLOW_FIRST * usual[rows] and first_s - usual[rows] > _SLOW_FIRST_S
        ]


def padded(times: CallTimes, b_s: float) -> dict[int, int]:
    """Sizes that cost as much as a larger one, though fewer rows should make them cheaper: (size, as).

    Where rows cost next to nothing, or calls of one size differ as much, padding cannot be seen.
    """
    found = {}
    medians, spread = times.medians(), times.spread()
    sizes = list(medians)
    for place, rows in enumerate(sizes):
        # The largest that still costs the same is what it is padded to.
        for larger in reversed(sizes[place + 1 :]):
            same = medians[rows] >= (1 - _SAME - spread) * medians[larger]
            if same and b_s * (larger - rows) > max(_CLEAR, _SPREADS * spread) * medians[larger]:
                found[rows] = larger
                break
    return found


def busy_devices(answers: Sequence[tuple[float, int]], seconds: Callable[[int], float | None]) -> float:
    """How many devices were at work, calls enough being under way all the time.

    Each batch is worth what it costs on an idle server; calls that the server merged are answered together.

    Args:
        answers: (when, rows) of each answer; the first ones begin the measurement.
        seconds: of a call by rows.
    """
    ordered = sorted(answers)
    batches: list[tuple[float, int]] = []
    for at_s, rows in ordered:
        if batches and at_s - batches[-1][0] <= _TOGETHER_S:
            batches[-1] = (at_s, batches[-1][1] + rows)
        else:
            batches.append((at_s, rows))
    if len(batches) < 3:  # noqa: PLR2004  # a start, and two gaps
        return 1.0
    work_s = sum(seconds(rows) or 0.0 for _, rows in batches[1:])
    passed_s = batches[-1][0] - batches[0][0]
    return work_s / passed_s if passed_s > 0 else 1.0


def whole_devices(busy: float, under_way: int) -> int:
    """A count of devices: what was busy, to the nearest below but for a little noise."""
    return max(1, min(under_way, int(busy + 0.3)))
