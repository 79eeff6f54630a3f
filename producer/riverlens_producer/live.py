"""A camera in the network as a source: connected for as long as it is wanted, watched, connected again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from concurrent.futures import Executor

from riverlens_producer.cameras import Camera
from riverlens_producer.failures import Cause, LinkError, no_frame
from riverlens_producer.link import Intake, Link, LinkStats, Newest
from riverlens_producer.reconnect import Notices, Reconnect
from riverlens_producer.sources import Picture

_log = logging.getLogger(__name__)


class LiveSource:
    """Shows what a camera sends, newest first: what cannot be taken in time is given up and counted.

    Args:
        camera: how to treat it.
        link: makes its connections, one after the other.
        pool: pictures are encoded there.
        stats: told how the connection fares.
    """

    live = True
    # Frames come when the camera sends them; their rate is limited where they come in.
    fps: float | None = 0.0

    def __init__(self, camera: Camera, link: Link, pool: Executor, stats: LinkStats) -> None:
        self._camera = camera
        self._link = link
        self._pool = pool
        self._stats = stats
        self._newest: Newest | None = None
        self._running: asyncio.Task[None] | None = None
        self._clock_told = False

    async def open(self) -> None:
        """Begin to connect; whether anybody answers is not waited for: a camera may be away."""
        self._newest = Newest(asyncio.get_running_loop())
        self._running = asyncio.create_task(self._stay_connected(), name=f"camera {self._camera.id}")
        self._running.add_done_callback(self._newest.end)

    async def picture(self, sequence: int) -> Picture:  # noqa: ARG002  # what was missed is told instead
        """The next picture, as soon as there is one."""
        assert self._newest is not None  # noqa: S101  # open() comes first
        missed = 0
        while True:
            shot, given_up = await self._newest.take()
            missed += given_up
            try:
                image = await asyncio.get_running_loop().run_in_executor(self._pool, shot.make)
            # What readers of broken pictures raise, beside their own errors of the same families.
            except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError) as error:
                if not self._stats.broken:
                    _log.warning(
                        "%s: a frame is left out: %s; others are only counted", self._camera.id, error
                    )
                self._stats.broken += 1
                continue
            return Picture(image, shot.content_type, captured_at_ms=shot.captured_at_ms, missed=missed)

    async def close(self) -> None:
        """Disconnect."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _stay_connected(self) -> None:
        assert self._newest is not None  # noqa: S101  # open() made it
        camera, stats = self._camera, self._stats
        reconnect, notices = Reconnect(camera.reconnect_max_s), Notices()
        while True:
            intake = Intake(self._newest, stats, camera.fps, camera.stall_s)
            try:
                await self._connected(intake, notices)
            except LinkError as error:
                failure = error
            finally:
                intake.close()
            up_s = intake.last_s - intake.first_s
            delay_s = reconnect.delay_s(failure.cause, up_s, random.random())  # noqa: S311  # spreads, hides nothing
            stats.reconnects[failure.cause] += 1
            if notices.says(failure.cause, time.monotonic()):
                _log.warning("%s: %s: %s; trying again", camera.id, camera.shown, failure)
            await asyncio.sleep(delay_s)

    async def _connected(self, intake: Intake, notices: Notices) -> None:
        """One connection, to its end.

        Raises:
            LinkError: always; a camera's stream has no good end.
        """
        running = asyncio.create_task(self._link.run(intake))
        told = False
        try:
            while not running.done():
                if intake.first_s and not told:
                    told = True
                    self._tell_up(notices)
                self._tell_clock()
                await asyncio.wait({running}, timeout=self._left_s(intake))
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        running.result()
        raise LinkError(Cause.ENDED)

    def _left_s(self, intake: Intake) -> float:
        """Seconds until the connection counts as stalled; a look now and then tells that frames came.

        Raises:
            LinkError: it does.
        """
        wait_s = intake.stall_s if intake.first_s else self._camera.connect_s
        left_s = (intake.last_s or intake.opened_s) + wait_s - time.monotonic()
        if left_s <= 0:
            raise no_frame(wait_s)
        return min(left_s, 1.0)

    def _tell_up(self, notices: Notices) -> None:
        camera, stats = self._camera, self._stats
        recovered = notices.recovered()
        if recovered or stats.reconnects.total() == 0:
            _log.info("%s: frames %s: %s", camera.id, "come again" if recovered else "come", stats.offer)

    def _tell_clock(self) -> None:
        # RTSP cameras tell their time some seconds after the first frame.
        camera, stats = self._camera, self._stats
        if stats.clock_off_ms and not stats.from_camera and not self._clock_told:
            self._clock_told = True
            _log.warning(
                "%s: its clock is off by %.0f s: times of arrival are used; set its NTP server",
                camera.id, stats.clock_off_ms / 1000,
            )  # fmt: skip
