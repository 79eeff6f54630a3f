"""The metrics that name cameras. How many series there may be is bounded: ids come from outside."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

MAX_CAMERAS = 200
OTHER_CAMERAS = "other"


class CameraMetrics:
    """Each shows the first 200 cameras that it is told of, counters all others together as `other`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._frames = Counter(
            "riverlens_camera_frames", "Events published, by camera", ["camera"], registry=registry
        )
        text = "Frames dropped: stale or superseded by a freshness policy, or unchanged; by camera"
        self._drops = Counter("riverlens_camera_drops", text, ["camera", "reason"], registry=registry)
        text = "Delay from capture to Kafka of cameras whose clock is behind, where policies ask for age"
        self._skew = Gauge("riverlens_camera_skew_seconds", text, ["camera"], registry=registry)
        self._published: dict[str, Counter] = {}
        self._dropping: set[str] = set()
        self._skewed: set[str] = set()

    def frames(self, camera: str) -> Counter:
        """Events published."""
        child = self._published.get(camera)
        if child is None:
            if len(self._published) >= MAX_CAMERAS:
                return self._frames.labels(OTHER_CAMERAS)
            child = self._published[camera] = self._frames.labels(camera)
        return child

    def drops(self, camera: str, reason: str) -> Counter:
        """Frames dropped."""
        if camera not in self._dropping and len(self._dropping) >= MAX_CAMERAS:
            camera = OTHER_CAMERAS
        else:
            self._dropping.add(camera)
        return self._drops.labels(camera, reason)

    def skew(self, camera: str, seconds: float) -> None:
        """Tell a camera's skew; a camera that never had one is not shown."""
        if camera in self._skewed or (seconds and len(self._skewed) < MAX_CAMERAS):
            self._skewed.add(camera)
            self._skew.labels(camera).set(seconds)
