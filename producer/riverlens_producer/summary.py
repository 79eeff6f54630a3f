"""What was sent, per camera and in all. Pure: counts go in, a report comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields

from riverlens.frame_producer import FrameCounts


@dataclass(slots=True)
class CameraCounts(FrameCounts):
    """One camera's frames.

    Attributes:
        refused: never sent, because they were too large.
        skipped: pictures of a live camera that nobody took in time; its sequence jumped over them.
        sent_bytes: image bytes of `sent`.
    """

    refused: int = 0
    skipped: int = 0
    sent_bytes: int = 0


def total(cameras: Iterable[CameraCounts]) -> CameraCounts:
    """The sum over cameras."""
    names = [item.name for item in fields(CameraCounts)]
    rows = list(cameras)
    return CameraCounts(**{name: sum(getattr(row, name) for row in rows) for name in names})


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames and bytes a second."""

    frames: float
    size_bytes: float


@dataclass(slots=True)
class Meter:
    """Rates of each camera between two readings of its counts.

    Attributes:
        counts: by camera id; changed by the camera's loop and its deliveries.
    """

    counts: dict[str, CameraCounts]
    _last: dict[str, tuple[int, int]] = field(default_factory=dict)
    _last_s: float | None = None

    def rates(self, now_s: float) -> dict[str, Rate]:
        """Acknowledged frames a second since the reading before, by camera; 0 at the first reading."""
        passed_s = 0.0 if self._last_s is None else now_s - self._last_s
        found: dict[str, Rate] = {}
        for camera_id, row in self.counts.items():
            frames, size_bytes = self._last.get(camera_id, (0, 0))
            self._last[camera_id] = (row.acknowledged, row.acknowledged_bytes)
            found[camera_id] = (
                Rate((row.acknowledged - frames) / passed_s, (row.acknowledged_bytes - size_bytes) / passed_s)
                if passed_s > 0
                else Rate(0.0, 0.0)
            )
        self._last_s = now_s
        return found


def as_json(
    counts: Mapping[str, CameraCounts], *, topic: str, seconds: float, synthetic: Mapping[str, object] | None
) -> dict[str, object]:
    """The summary for machines; `synthetic` says how to find a frame's truth, see `scene_number`."""
    return {
        "schema": "riverlens.producer-summary/1",
        "topic": topic,
        "seconds": round(seconds, 3),
        "total": asdict(total(counts.values())),
        "cameras": {camera_id: asdict(row) for camera_id, row in counts.items()},
        "synthetic": dict(synthetic) if synthetic else None,
    }


def as_line(counts: Mapping[str, CameraCounts], *, topic: str, seconds: float) -> str:
    """The summary for people, one line."""
    row = total(counts.values())
    rate = row.acknowledged / seconds if seconds > 0 else 0.0
    cameras = f"{len(counts)} camera{'' if len(counts) == 1 else 's'}"
    sent = (
        f"{row.acknowledged} frames ({row.acknowledged_bytes / 1e6:.1f} MB) of {cameras} "
        f"on topic {topic} in {seconds:.1f} s, {rate:.1f} frames/s"
    )
    others = ("dropped", "failed", "refused", "skipped")
    return "; ".join([sent, *(f"{getattr(row, name)} {name}" for name in others if getattr(row, name))])
