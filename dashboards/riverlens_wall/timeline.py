"""How many objects of each label were in view, over the last minutes. Pure: time is a parameter.

A camera at 10 frames/s shows one person in ten events a second: so a bin holds, for each camera, the mean
number of objects in its events, and the wall's number is the sum over the cameras.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from riverlens.event import Event

BINS = 100
OTHERS = "other labels"
_MAX_LABELS = 200
MAX_CAMERAS = 1000
"""In one bin: labels and cameras come from outside. Cameras beyond are taken for one."""


class Row(NamedTuple):
    """One label: the mean number in view in each bin, oldest first; the last bin is the one that runs."""

    label: str
    in_view: list[float]


@dataclass(slots=True)
class _Bin:
    number: int
    events: Counter[str] = field(default_factory=Counter)
    """Events by camera."""
    objects: dict[str, Counter[str]] = field(default_factory=dict)
    """Objects by label, then by camera."""

    def in_view(self, label: str, cameras: Iterable[str] | None = None) -> float:
        counts = self.objects.get(label, Counter[str]())
        return sum(counts[camera] / self.events[camera] for camera in (cameras or counts) if counts[camera])


class Timeline:
    """Counts labels in bins.

    Args:
        span_s: how far it reaches back, seconds; a hundred bins of equal length.
    """

    def __init__(self, span_s: float) -> None:
        self.bin_s = span_s / BINS
        self._bins: deque[_Bin] = deque()

    def add(self, camera: str, labels: Mapping[str, int], now_s: float) -> None:
        """One event of a camera, with how many objects of each label; `now_s` never goes back."""
        current = self._bin_of(int(now_s // self.bin_s))
        if camera not in current.events and len(current.events) >= MAX_CAMERAS:
            camera = ""
        current.events[camera] += 1
        for label, count in labels.items():
            name = label
            if label not in current.objects and len(current.objects) >= _MAX_LABELS:
                name = OTHERS
            current.objects.setdefault(name, Counter())[camera] += count

    def rows(self, now_s: float, most: int) -> list[Row]:
        """The labels most in view, at most `most`, then all others as one row."""
        last = int(now_s // self.bin_s)
        self._forget(last)
        totals: Counter[str] = Counter()
        views: dict[str, dict[int, float]] = {}
        for each in self._bins:
            for label in each.objects:
                value = each.in_view(label)
                totals[label] += value  # type: ignore[assignment]  # Counter's values may be floats
                views.setdefault(label, {})[each.number] = value
        # By name where equal, so that rows do not dance.
        ranked = sorted(totals, key=lambda label: (label == OTHERS, -totals[label], label))
        rows = [Row(label, _spread(views[label], last)) for label in ranked[:most]]
        if len(ranked) > most:
            rest: Counter[int] = Counter()
            for label in ranked[most:]:
                rest.update(views[label])
            rows.append(Row(OTHERS, _spread(rest, last)))
        return rows

    def _bin_of(self, number: int) -> _Bin:
        if not self._bins or self._bins[-1].number < number:
            self._bins.append(_Bin(number))
            self._forget(number)
        return self._bins[-1]

    def _forget(self, last: int) -> None:
        while self._bins and self._bins[0].number <= last - BINS:
            self._bins.popleft()


def _spread(values: Mapping[int, float], last: int) -> list[float]:
    return [round(values.get(number, 0.0), 2) for number in range(last - BINS + 1, last + 1)]


def labels_of(event: Event) -> Counter[str]:
    """How many objects of each label an event has; of a classifier's the best class, once."""
    if event.detections is not None:
        return Counter(found.label for found in event.detections)
    if event.classes:
        return Counter([event.classes[0].label])
    return Counter()
