"""Which detections an event holds: by label, score, size and zone. Pure.

An event stays one for each frame: what is filtered out is missing in it, and it may be empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING

from riverlens.event import Detection
from riverlens_worker.zones import Zone, Zones

if TYPE_CHECKING:  # the settings import this module, and should not load numpy for it
    from riverlens_worker.messages import Answer

MOST_READ = 1_000
"""Detections of a frame that filters see, best first, where `max_detections` is not larger."""
_MOST_LABELS = 10_000


@dataclass(frozen=True, slots=True)
class Filters:
    """What the settings of the same names say; see there."""

    only_labels: Sequence[str] = ()
    skip_labels: Sequence[str] = ()
    min_scores: Sequence[tuple[str, float]] = ()
    min_box_area: float = 0.0
    max_box_area: float = 1.0
    only_zones: bool = False
    max_detections: int = 100

    @property
    def asks(self) -> bool:
        """Whether something may be left out."""
        return bool(
            self.only_labels
            or self.skip_labels
            or self.min_scores
            or self.min_box_area > 0
            or self.max_box_area < 1
            or self.only_zones
        )


def parse_scores(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Least scores from `PATTERN=SCORE`, as `person=0.5`.

    Raises:
        ValueError: one line: which rule is wrong, and how it should look.
    """
    rules: list[tuple[str, float]] = []
    for text in texts:
        pattern, _, said = (part.strip() for part in text.rpartition("="))
        try:
            score = float(said)
        except ValueError:
            score = inf
        if not pattern or not 0 <= score <= 1:
            raise ValueError(f"{text!r} is no label and score 0 to 1, such as person=0.5 or car*=0.6")
        hiding = next((earlier for earlier, _ in rules if earlier in ("*", pattern)), None)
        if hiding is not None:
            raise ValueError(
                f"{text!r} never counts: {hiding!r} before it matches all its labels, and the first match "
                "wins; put it first"
            )
        rules.append((pattern, score))
    return tuple(rules)


class Selection:
    """Takes out of an answer what the filters do not want, and says which zones the rest stands in."""

    def __init__(self, filters: Filters, zones: Sequence[Zone] = ()) -> None:
        self._filters = filters
        self._zones = Zones(zones)
        self._least: dict[str, float] = {}

    def of(self, camera_id: str, answer: Answer) -> Answer:
        """The answer as its event tells it; arrays as they are, as nobody knows what is in them."""
        most = self._filters.max_detections
        if answer.detections is not None:
            zones = self._zones.of(camera_id)
            found = [kept for each in answer.detections if (kept := self._kept(each, zones)) is not None]
            return replace(answer, detections=found[:most])
        if answer.classes is not None:
            named = [each for each in answer.classes if each.score >= self._least_of(each.label)]
            return replace(answer, classes=named[:most])
        return answer

    def _kept(self, found: Detection, zones: tuple[Zone, ...]) -> Detection | None:
        """The detection with its zones, or None where a filter takes it out."""
        if found.score < self._least_of(found.label):
            return None
        x1, y1, x2, y2 = found.box
        if not self._filters.min_box_area <= (x2 - x1) * (y2 - y1) <= self._filters.max_box_area:
            return None
        if not zones:
            return found
        inside = tuple(zone.name for zone in zones if zone.holds((x1 + x2) / 2, y2))
        if not inside and self._filters.only_zones:
            return None
        return Detection(found.label, found.class_id, found.score, found.box, inside)

    def _least_of(self, label: str) -> float:
        """The least score of a label that is wanted; infinity for one that is not."""
        least = self._least.get(label)
        if least is None:
            # Names come from the model server: an odd one must not grow this for ever.
            if len(self._least) >= _MOST_LABELS:
                self._least.clear()
            least = self._least[label] = self._look_up(label)
        return least

    def _look_up(self, label: str) -> float:
        filters = self._filters
        if _any(label, filters.skip_labels) or (filters.only_labels and not _any(label, filters.only_labels)):
            return inf
        return next((score for pattern, score in filters.min_scores if fnmatchcase(label, pattern)), 0.0)


def _any(label: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(label, pattern) for pattern in patterns)
