"""When each picture of a camera is due. Pure: time is a parameter, in monotonic seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SHORTEST_GAP_S = 1e-4
_LONGEST_GAP_S = 10.0


@dataclass(frozen=True, slots=True)
class Timetable:
    """One camera's clock: every due time follows from `start_s`, so it neither drifts nor bursts.

    Attributes:
        start_s: when the first picture may leave.
        period_s: seconds from one picture to the next; None: as fast as Kafka takes them.
        live: what is late by a whole period is skipped; otherwise it is caught up with.
    """

    start_s: float
    period_s: float | None
    live: bool = False

    def due_s(self, sequence: int, offset_s: float | None) -> float:
        """When the picture is to leave; `offset_s` is its own time within its source, where it has one."""
        if self.period_s is None:
            return self.start_s
        return self.start_s + (sequence * self.period_s if offset_s is None else offset_s)

    def after(self, sequence: int, now_s: float) -> int:
        """The sequence to show after `sequence`: the next, or for live cameras the one that is due now."""
        if not self.live or self.period_s is None:
            return sequence + 1
        return max(sequence + 1, math.floor((now_s - self.start_s) / self.period_s + 1e-9))


class MediaTime:
    """Turns a file's own timestamps into times that only grow, across loops and broken stretches.

    Args:
        frame_s: seconds of one frame at the file's rate, for where timestamps are missing or wrong.
        trusted: False where the container keeps decoding times instead (AVI): then the rate alone counts.
    """

    def __init__(self, frame_s: float, *, trusted: bool = True) -> None:
        self._frame_s = frame_s
        self._trusted = trusted
        self._offset_s: float | None = None
        self._last_s: float | None = None

    def restart(self) -> None:
        """The file begins again: its next timestamp continues the present time."""
        self._last_s = None

    def offset_s(self, time_s: float | None) -> float:
        """Seconds since the first frame, for a frame with this timestamp; more than for the one before."""
        if self._offset_s is None:
            self._offset_s = 0.0
        elif not self._trusted or time_s is None or self._last_s is None:
            self._offset_s += self._frame_s
        else:
            gap_s = time_s - self._last_s
            self._offset_s += gap_s if _SHORTEST_GAP_S < gap_s <= _LONGEST_GAP_S else self._frame_s
        self._last_s = time_s
        return self._offset_s


class RateLimit:
    """Chooses frames so that at most `fps` a second remain and motion stays in real time."""

    def __init__(self, fps: float | None) -> None:
        self._fps = fps or None
        self._next_slot = 0

    def takes(self, offset_s: float) -> bool:
        """Whether the frame at `offset_s` is the first one in its slot of 1/fps seconds."""
        if self._fps is None:
            return True
        slot = math.floor(offset_s * self._fps + 1e-6)
        if slot < self._next_slot:
            return False
        self._next_slot = slot + 1
        return True


class LiveRate:
    """As RateLimit, for frames whose times jitter: each may come half a period early and is paid for later.

    At most `fps` a second over time; a stream that just has this rate keeps every frame.
    """

    def __init__(self, fps: float | None) -> None:
        self._period_s = 1 / fps if fps else 0.0
        self._due_s = -math.inf

    def takes(self, time_s: float) -> bool:
        """Whether the frame of this time is one of those that remain."""
        half_s = self._period_s / 2
        # A clock that was set back must not shut the camera out for as long.
        if self._due_s - time_s > 4 * half_s:
            self._due_s = time_s
        if time_s < self._due_s - half_s:
            return False
        self._due_s = max(self._due_s, time_s - half_s) + self._period_s
        return True


class RealTime:
    """Holds frames back that come faster than they were filmed: HLS segments, a clip on a web server."""

    def __init__(self) -> None:
        self._start_s: float | None = None

    def wait_s(self, offset_s: float, now_s: float) -> float:
        """How long the frame at `offset_s` of the stream has to wait; a late one moves all that follow."""
        if self._start_s is None or self._start_s + offset_s < now_s:
            self._start_s = now_s - offset_s
        return self._start_s + offset_s - now_s
