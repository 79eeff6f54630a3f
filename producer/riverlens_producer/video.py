"""Video files as a camera's pictures, by PyAV."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer

from riverlens_producer.pacing import MediaTime, RateLimit
from riverlens_producer.pictures import Look, Pixels, of_pixels
from riverlens_producer.sources import Picture, Showing, SourceError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_FALLBACK_FPS = 25.0
_DECODING_TIMES = frozenset({"avi", "rawvideo", "h264", "hevc", "m4v"})  # they keep no presentation times


class VideoFile:
    """Shows a video's frames at its own rate or a lower one, once or in a loop.

    Args:
        path: any file FFmpeg opens.
        showing: its `fps` is kept by leaving frames out.
        pool: decoding and encoding run there, one frame at a time.
    """

    live = False

    def __init__(self, path: Path, showing: Showing, pool: Executor) -> None:
        # 0 stands for: no pacing at all, see Source.fps.
        self.fps: float | None = 0.0 if showing.fps == 0 else None
        self._path = path
        self._showing = showing
        self._pool = pool
        self._pictures: Generator[Picture] | None = None
        # A cancelled camera leaves its last job running; closing must wait for that.
        self._busy = threading.Lock()

    async def open(self) -> None:
        """Open the file once, so that a wrong one is known before anything is sent.

        Raises:
            SourceError: missing, unreadable, or without a video stream.
        """
        await self._run(self._probe)
        self._pictures = self._read()

    async def picture(self, sequence: int) -> Picture | None:  # noqa: ARG002  # no frame is left out
        """The next frame.

        Raises:
            SourceError: the file holds no frame that can be decoded.
        """
        return await self._run(self._next)

    async def close(self) -> None:
        """Close the file."""
        await self._run(self._end)

    async def _run(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def _probe(self) -> None:
        _open(self._path).close()

    def _next(self) -> Picture | None:
        assert self._pictures is not None  # noqa: S101  # open() comes first
        with self._busy:
            return next(self._pictures, None)

    def _end(self) -> None:
        with self._busy:
            if self._pictures is not None:
                self._pictures.close()

    def _read(self) -> Generator[Picture]:
        media: MediaTime | None = None
        chooser = RateLimit(self._showing.fps)
        while True:
            shown = 0
            with _open(self._path) as container:
                media = media or media_time(container)
                for frame in _decode(container):
                    shown += 1
                    offset_s = media.offset_s(frame.time)
                    if chooser.takes(offset_s):
                        yield Picture(
                            encode_frame(frame, self._showing.look), "image/jpeg", offset_s=offset_s
                        )
            if not shown:
                raise SourceError(f"source: {self._path}: no frame can be decoded; see --source")
            if not self._showing.loop:
                return
            media.restart()


def encode_frame(frame: av.VideoFrame, look: Look) -> bytes:
    """JPEG of a decoded frame, upright, its region inside the limit.

    Raises:
        ValueError: the region is off the picture.
    """
    # Phones film sideways and say so beside the pixels.
    turns = round(frame.rotation / 90) % 4
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    seen = look.view(width, height)
    across, down = (seen.height, seen.width) if turns % 2 else (seen.width, seen.height)
    pixels: Pixels = frame.to_ndarray(format="rgb24", width=across, height=down).astype(np.uint8, copy=False)
    return of_pixels(np.rot90(pixels, turns) if turns else pixels, look, seen)


def _open(path: Path) -> InputContainer:
    try:
        container = av.open(str(path))
    except FileNotFoundError:
        raise SourceError(f"source: {path}: no such file; see --source") from None
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SourceError(f"source: {path}: not a video or image ({reason}); see --source") from None
    if not container.streams.video:
        container.close()
        raise SourceError(f"source: {path}: has no video stream; see --source")
    return container


def media_time(container: InputContainer) -> MediaTime:
    """The times of a container's first video stream."""
    stream = container.streams.video[0]
    rate = float(stream.average_rate or stream.guessed_rate or _FALLBACK_FPS)
    formats = set(container.format.name.split(","))
    return MediaTime(1 / rate, trusted=not formats & _DECODING_TIMES)


def _decode(container: InputContainer) -> Iterator[av.VideoFrame]:
    """Every frame that can be decoded; broken packets are passed over, as players do."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    broken = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            broken += 1
    if broken:
        _log.warning("%s: %d broken packets were passed over", container.name, broken)
