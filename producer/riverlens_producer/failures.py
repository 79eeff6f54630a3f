"""Why a camera gives no frames, in words for its owner. Pure."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """What ended a connection; the label `reason` of the reconnects."""

    ENDED = "ended"
    """The camera closed the stream."""
    STALLED = "stalled"
    """Connected, or trying to, and no frame for too long."""
    UNREACHABLE = "unreachable"
    """Nobody answers at this address."""
    DENIED = "denied"
    """The login is missing or wrong."""
    MISSING = "missing"
    """The camera answers and has no such stream."""
    UNREADABLE = "unreadable"
    """What comes is no picture that can be shown."""


_REMEDIES = {
    Cause.ENDED: "the camera closed the stream",
    Cause.STALLED: "see --stall-s and --connect-s, and the network between",
    Cause.UNREACHABLE: "is it on, and are host and port right?",
    Cause.DENIED: "give its user and password: scheme://USER:PASSWORD@host/..., or username and password "
    "in cameras.toml",
    Cause.MISSING: "see the camera's manual for the path of its stream",
    Cause.UNREADABLE: "is this the address of a stream or a picture?",
}


class LinkError(Exception):
    """A connection to a camera ended. The text names no address: addresses hold passwords.

    Attributes:
        cause: for metrics, and for how long to wait before the next try.
        detail: what was seen, short.
    """

    def __init__(self, cause: Cause, detail: str = "") -> None:
        self.cause = cause
        self.detail = detail
        super().__init__("; ".join(filter(None, (detail, _REMEDIES[cause]))))


def of_status(status: int) -> LinkError:
    """What an HTTP or RTSP status means for who asked for a stream."""
    if status in {401, 403, 407}:
        return LinkError(Cause.DENIED, f"it refuses the login ({status})")
    if status in {404, 410, 454, 455}:
        return LinkError(Cause.MISSING, f"it has no such stream ({status})")
    return LinkError(Cause.UNREACHABLE, f"it answers with status {status}")


def no_frame(seconds: float) -> LinkError:
    """The stall watchdog's verdict."""
    return LinkError(Cause.STALLED, f"no frame for {seconds:g} s")
