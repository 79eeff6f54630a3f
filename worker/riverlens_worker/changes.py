"""Whether a frame shows something new: other counts of labels than its camera's last event. Pure.

One object for each lease, asked in the partition's order, so that what is an event depends on the partition
alone, from the frame on that the lease began with. Time is the frames' capture time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy is not needed here
    from riverlens_worker.messages import Answer

Key = tuple[str, str]
"""Zone and label; the zone is "" where the camera has no zones."""
Counts = Mapping[Key, int]

_MOST_CAMERAS = 10_000


def counts_of(answer: Answer) -> Counts | None:
    """How many of each label stand in each zone, or, without zones, are in the picture.

    What stands in no zone of a camera that has zones is not counted. None for arrays: nobody knows what
    would be a change in them.
    """
    if answer.detections is not None:
        return Counter(
            (zone, found.label)
            for found in answer.detections
            for zone in (("",) if found.zones is None else found.zones)
        )
    if answer.classes is not None:
        return Counter(("", found.label) for found in answer.classes)
    return None


@dataclass(slots=True)
class _Camera:
    """`told`: what its last event showed. `held`: other counts, each with the time it was first seen."""

    told: dict[Key, int]
    held: dict[Key, tuple[int, int]] = field(default_factory=dict)


class Changes:
    """The cameras of one lease. Another count becomes a change once it was seen for `hold_ms` on end."""

    def __init__(self, hold_ms: int = 0) -> None:
        self._hold_ms = hold_ms
        self._cameras: dict[str, _Camera] = {}

    def differs(self, camera_id: str, counts: Counts, at_ms: int) -> bool:
        """Whether this frame, captured at `at_ms`, is an event: a camera's first one, or a change."""
        camera = self._cameras.pop(camera_id, None)
        first = camera is None
        if camera is None:
            # Ids come from outside. The camera not seen for longest makes room; its next frame is an event.
            if len(self._cameras) >= _MOST_CAMERAS:
                del self._cameras[next(iter(self._cameras))]
            camera = _Camera({key: count for key, count in counts.items() if count})
        self._cameras[camera_id] = camera
        return first or self._changed(camera, counts, at_ms)

    def forget(self, camera_id: str) -> None:
        """Its next frame is an event, whatever it shows."""
        self._cameras.pop(camera_id, None)

    def _changed(self, camera: _Camera, counts: Counts, at_ms: int) -> bool:
        if not camera.held and camera.told == counts:
            return False
        keys = camera.told.keys() | counts.keys()
        # All are asked, whatever the first ones say: asking is what holds a count.
        changed = [key for key in keys if self._has_held(camera, key, counts.get(key, 0), at_ms)]
        if changed:
            # The event tells all that its frame shows, flicker too: who reads it must hear when that ends.
            camera.told = {key: count for key, count in counts.items() if count}
            camera.held.clear()
            return True
        for key in camera.held.keys() - keys:
            del camera.held[key]
        return False

    def _has_held(self, camera: _Camera, key: Key, count: int, at_ms: int) -> bool:
        """Whether one label in one zone has had another count than the told one for long enough."""
        if camera.told.get(key, 0) == count:
            camera.held.pop(key, None)
            return False
        before, since_ms = camera.held.get(key, (count, at_ms))
        if before != count or at_ms < since_ms:
            # Another count, or a camera's clock that was set back: it is held from now on.
            since_ms = at_ms
        camera.held[key] = count, since_ms
        return at_ms - since_ms >= self._hold_ms
