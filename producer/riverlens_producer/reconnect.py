"""When to try a camera again, and when to say so. Pure: time and chance are parameters."""

from __future__ import annotations

from dataclasses import dataclass

from riverlens_producer.failures import Cause

_FIRST_S = 0.25
_STEADY_S = 10.0
_DENIED_S = 60.0
_SAY_AGAIN_S = 60.0


@dataclass(slots=True)
class Reconnect:
    """The waits between one camera's connections: they double from 0.25 s up to `limit_s`.

    A refused login is tried again after 30 to 60 s: many cameras lock out who asks more often.

    Attributes:
        failures: connections that ended, since the last one that was steady.
    """

    limit_s: float
    failures: int = 0

    def delay_s(self, cause: Cause, up_s: float, chance: float) -> float:
        """Seconds to wait after a connection that gave frames for `up_s`; `chance` is uniform in 0..1.

        Half of the delay is certain, the rest spreads cameras that were cut off together.
        """
        self.failures = 1 if up_s >= _STEADY_S else self.failures + 1
        limit_s = max(self.limit_s, _DENIED_S) if cause is Cause.DENIED else self.limit_s
        # The limit counts for the first wait of a refused login as well.
        ceiling_s = (
            limit_s if cause is Cause.DENIED else min(limit_s, _FIRST_S * 2 ** min(self.failures - 1, 30))
        )
        return ceiling_s * (0.5 + chance / 2)


@dataclass(slots=True)
class Notices:
    """Keeps a camera that is away for a night, or comes and goes, from filling the log.

    Each new cause is said, the same one again after a minute, and that frames come, if somebody waits for it.
    """

    _cause: Cause | None = None
    _said_s: float = 0.0
    _told: bool = False

    def says(self, cause: Cause, now_s: float) -> bool:
        """Whether this failure is worth a line."""
        if cause is self._cause and now_s - self._said_s < _SAY_AGAIN_S:
            return False
        self._cause, self._said_s, self._told = cause, now_s, True
        return True

    def recovered(self) -> bool:
        """Frames come; whether somebody was told that they did not."""
        told, self._told = self._told, False
        return told
