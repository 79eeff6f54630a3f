"""When a live frame was captured. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PLAUSIBLE_MS = 10_000
"""Kafka refuses frames from the future and policies drop old ones: a camera farther off has no clock."""


def reference_time_ms(side_data: bytes) -> int | None:
    """FFmpeg's AVProducerReferenceTime: the camera's clock by RTCP's sender reports; None where unset."""
    if len(side_data) < 8:  # noqa: PLR2004  # an int64: microseconds since the epoch
        return None
    (microseconds,) = struct.unpack_from("=q", side_data)
    return microseconds // 1000 if microseconds > 0 else None


@dataclass(slots=True)
class CaptureClock:
    """Chooses between the camera's time of a frame and that of its arrival.

    Attributes:
        trusted: take the camera's time where it is within 10 s of arrival.
        off_ms: how far the camera's clock was off when it was last not believed; 0: never.
        used: whether the newest frame has the camera's time.
    """

    trusted: bool = True
    off_ms: int = 0
    used: bool = False

    def captured_at_ms(self, told_ms: int | None, arrived_ms: int) -> int:
        """The frame's capture time, milliseconds since the epoch."""
        self.used = False
        if not self.trusted or told_ms is None:
            return arrived_ms
        if abs(told_ms - arrived_ms) > _PLAUSIBLE_MS:
            self.off_ms = told_ms - arrived_ms
            return arrived_ms
        self.used = True
        # Nothing is captured after it arrived.
        return min(told_ms, arrived_ms)
