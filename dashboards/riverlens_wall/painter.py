"""Makes the tiles' pictures: only those that somebody sees, each once for all browsers. Shell."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from riverlens_wall import wire
from riverlens_wall.cameras import Camera, Cameras, Shown
from riverlens_wall.looks import Look
from riverlens_wall.scaling import UnscalableError, goes_as_it_is, scaled
from riverlens_wall.waiting import Place

logger = logging.getLogger(__name__)

_MOST_BUSY = 0.15
"""Share of one core that scaling may take; with more to scale, pictures come less often."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One tile's picture. `number` grows with each that is made."""

    number: int
    place: Place
    answered: bool
    message: bytes


class Painter:
    """Rounds of pictures, one round every `1 / per_second` seconds or less often."""

    def __init__(self, cameras: Cameras, per_second: float) -> None:
        self._cameras = cameras
        self._period_s = 1 / per_second
        self._pictures: dict[tuple[int, int], Picture] = {}
        self._number = 0
        self._pool: ThreadPoolExecutor | None = None
        self._scaled_s = 0.0

    async def run(self, wanted: Callable[[], Mapping[int, set[int]]], painted: Callable[[], None]) -> None:
        """Paint until cancelled.

        Args:
            wanted: which cameras are seen now, each with the widths wanted.
            painted: called after each round that made something.
        """
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scaling")
        try:
            while True:
                started_s = time.monotonic()
                self._scaled_s = 0.0
                if await self._round(wanted()):
                    painted()
                period_s = max(self._period_s, self._scaled_s / _MOST_BUSY)
                await asyncio.sleep(max(0.0, started_s + period_s - time.monotonic()))
        finally:
            self._pictures.clear()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def picture(self, key: int, width: int) -> Picture | None:
        """The newest picture of a camera in this width."""
        return self._pictures.get((key, width))

    async def _round(self, wanted: Mapping[int, set[int]]) -> bool:
        for old in [each for each in self._pictures if each[1] not in wanted.get(each[0], ())]:
            del self._pictures[old]
        made = False
        for key, widths in sorted(wanted.items()):
            camera = self._cameras.by_key(key)
            for width in sorted(widths) if camera is not None else ():
                made |= await self._paint(camera, width)
        return made

    async def _paint(self, camera: Camera | None, width: int) -> bool:
        shown = camera.to_show(time.monotonic()) if camera is not None else None
        if camera is None or shown is None:
            return False
        before = self._pictures.get((camera.key, width))
        if before and (before.place, before.answered) == (shown.frame.place, shown.event is not None):
            return False
        image, note = await self._image(shown, width)
        body = wire.head(camera.key, shown, time.time_ns() // 1_000_000, note)
        if image and not goes_as_it_is(shown.frame.image or b"", shown.frame.look):
            body["mime"] = "image/jpeg"
        self._number += 1
        message = wire.picture(body, image)
        self._pictures[camera.key, width] = Picture(
            self._number, shown.frame.place, shown.event is not None, message
        )
        return True

    async def _image(self, shown: Shown, width: int) -> tuple[bytes, str]:
        frame = shown.frame
        image = frame.image
        if image is None or frame.look.note:
            return b"", frame.look.note or "no image"
        if goes_as_it_is(image, frame.look):
            return image, ""
        try:
            loop = asyncio.get_running_loop()
            small, seconds = await loop.run_in_executor(self._pool, _timed, image, frame.look, width)
        except UnscalableError as error:
            return b"", str(error)
        self._scaled_s += seconds
        return small, ""


def _timed(image: bytes, look: Look, width: int) -> tuple[bytes, float]:
    started_s = time.thread_time()
    return scaled(image, look, width), time.thread_time() - started_s
