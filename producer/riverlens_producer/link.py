"""What passes between a connection to a camera and who takes its frames."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from riverlens_producer.failures import Cause
from riverlens_producer.pacing import LiveRate

_DEPTH = 4
"""Frames that may wait to be encoded: enough for those that come in a bunch, too few to grow old in."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a connection turned out to bring.

    Attributes:
        kind: in words, `RTSP over TCP` say.
        codec: FFmpeg's name, or the content type of pictures.
        width: in pixels, or 0 where it is not known before the first frame; height likewise.
        fps: as the source tells it, or None.
        passes: frames go out byte for byte, not encoded here.
    """

    kind: str
    codec: str
    width: int = 0
    height: int = 0
    fps: float | None = None
    passes: bool = False

    def __str__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        rate = f", {self.fps:g} frames/s" if self.fps else ""
        way = "passed through" if self.passes else "encoded as JPEG here"
        return f"{self.kind}, {self.codec}{size}{rate}, {way}"


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame as it came.

    Attributes:
        make: gives the encoded picture; may take a while, or raise ValueError.
        content_type: of that picture.
        captured_at_ms: milliseconds since the epoch.
    """

    make: Callable[[], bytes]
    content_type: str
    captured_at_ms: int


@dataclass(slots=True)
class LinkStats:
    """How one camera's connection fares; what is never connected (files, scenes) is up from its first frame.

    Attributes:
        received: frames that came, those left out for the rate included.
        broken: frames that could not be decoded or encoded.
        reconnects: connections that ended, by cause.
        up: whether frames come.
        captured_at_ms: of the newest frame sent; 0: none yet.
        offer: what the present connection brings, or the last one.
        from_camera: whether the newest capture time is the camera's own.
        clock_off_ms: how far off the camera's clock was when it was not believed; 0: never.
    """

    received: int = 0
    broken: int = 0
    reconnects: Counter[Cause] = field(default_factory=Counter)
    up: bool = False
    captured_at_ms: int = 0
    offer: Offer | None = None
    from_camera: bool = False
    clock_off_ms: int = 0


class Newest:
    """Holds the newest few shots between a connection, in any thread, and the event loop that takes them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._shots: deque[Shot] = deque()
        self._missed = 0
        self._defect: BaseException | None = None
        self._there = asyncio.Event()

    def put(self, shot: Shot) -> None:
        """Add a shot; the oldest goes where there are too many."""
        with self._lock:
            if len(self._shots) == _DEPTH:
                self._shots.popleft()
                self._missed += 1
            self._shots.append(shot)
            wake = len(self._shots) == 1
        if wake:
            try:
                self._loop.call_soon_threadsafe(self._there.set)
            except RuntimeError:
                return  # the loop has ended, and with it who would take frames

    def end(self, running: asyncio.Task[None]) -> None:
        """Nothing more comes, for the reason that the task ended with; whoever takes is told."""
        self._defect = asyncio.CancelledError() if running.cancelled() else running.exception()
        self._there.set()

    async def take(self) -> tuple[Shot, int]:
        """The oldest of them, and how many were given up since the last call; waits for one."""
        while True:
            with self._lock:
                if self._shots:
                    missed, self._missed = self._missed, 0
                    return self._shots.popleft(), missed
                if self._defect is not None:
                    raise self._defect
                self._there.clear()
            await self._there.wait()


class Intake:
    """Where one connection puts its frames; closed, it takes none. Safe in the connection's own thread.

    Attributes:
        opened_s: when it was made, monotonic; first_s and last_s: its first and newest frame, 0: none yet.
        stall_s: longest wait for the next frame, see `Camera`; polling a slow source raises it.
        span_s: time in the stream from its first to its newest frame.
    """

    def __init__(self, newest: Newest, stats: LinkStats, fps: float | None, stall_s: float) -> None:
        self.opened_s = time.monotonic()
        self.first_s = 0.0
        self.last_s = 0.0
        self.stall_s = stall_s
        self.span_s = 0.0
        self.stats = stats
        self._from_s = 0.0
        self._newest = newest
        self._rate = LiveRate(fps)
        self._closed = False

    def opened(self, offer: Offer) -> None:
        """The connection stands, and brings this."""
        self.stats.offer = offer

    def takes(self, time_s: float) -> bool:
        """Count a frame that came; whether it is wanted. `time_s`: its time in the stream, only growing."""
        if self._closed:
            return False
        self.stats.received += 1
        self.last_s = time.monotonic()
        if not self.first_s:
            self.first_s, self._from_s = self.last_s, time_s
        self.span_s = time_s - self._from_s
        self.stats.up = True
        return self._rate.takes(time_s)

    def alive(self, hold_s: float = 0.0) -> None:
        """Something came that is no frame, but shows that the camera sends; a frame is held for `hold_s`."""
        if self.first_s and not self._closed:
            self.last_s = time.monotonic() + hold_s

    def put(self, shot: Shot) -> None:
        """Give a wanted frame on."""
        if not self._closed:
            self._newest.put(shot)

    def close(self) -> None:
        """Take nothing more: another connection follows."""
        self._closed = True
        self.stats.up = False


class Link(Protocol):
    """One way of getting frames from a camera."""

    async def run(self, intake: Intake) -> None:
        """Connect and put frames into `intake` until the stream ends. Cancelled, it frees all it took.

        Raises:
            LinkError: it cannot be reached, or breaks off.
        """
