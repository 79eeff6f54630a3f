"""Whose clock is behind: how long after capture a camera's frames come to Kafka at best. Pure.

A camera whose clock is five seconds behind has no stale frames, though all of them look five seconds old.
Only frames read from the very end of a partition tell: those of a backlog are late for another reason.
"""

from __future__ import annotations

from dataclasses import dataclass

TOLERATED_MS = 1_000
"""A delay below this is the way's, and belongs to a frame's age."""
_BUCKET_S = 10.0
_LEAST_SAMPLES = 5
_LEAST_S = 5.0
_MOST_CAMERAS = 10_000


@dataclass(slots=True)
class _Window:
    """The least delay of the last one to two buckets."""

    first_s: float
    began_s: float
    samples: int = 0
    least_ms: float = float("inf")
    before_ms: float = float("inf")

    def add(self, delay_ms: float, now_s: float) -> None:
        if now_s - self.began_s >= _BUCKET_S:
            self.before_ms, self.least_ms, self.began_s = self.least_ms, float("inf"), now_s
        self.samples += 1
        self.least_ms = min(self.least_ms, delay_ms)

    def skew_ms(self, now_s: float) -> float:
        delay_ms = min(self.least_ms, self.before_ms)
        told = self.samples >= _LEAST_SAMPLES and now_s - self.first_s >= _LEAST_S
        return delay_ms if told and delay_ms >= TOLERATED_MS else 0.0


class Skews:
    """Delays by camera. A few seconds of frames tell a skew; the first frame without it ends it."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._skewed_ms: dict[str, float] = {}

    def add(self, camera_id: str, delay_ms: float, now_s: float) -> bool:
        """A frame came to Kafka `delay_ms` after its capture; returns whether that tells of a new skew."""
        window = self._windows.get(camera_id)
        if window is None:
            # Ids come from outside: cameras that come and go must not grow this for ever.
            if len(self._windows) >= _MOST_CAMERAS:
                self._windows.clear()
                self._skewed_ms.clear()
            window = self._windows[camera_id] = _Window(now_s, now_s)
        window.add(delay_ms, now_s)
        skew_ms = window.skew_ms(now_s)
        if not skew_ms:
            self._skewed_ms.pop(camera_id, None)
            return False
        new = camera_id not in self._skewed_ms
        self._skewed_ms[camera_id] = skew_ms
        return new

    def of(self, camera_id: str) -> float:
        """Milliseconds to take off the age of the camera's frames; 0 where its clock is right."""
        return self._skewed_ms.get(camera_id, 0.0)
