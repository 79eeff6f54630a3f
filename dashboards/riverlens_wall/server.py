"""The wall as one object: readers, painter, viewers and the HTTP server around one board. Shell, wiring."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from riverlens._version import __version__
from riverlens.errors import SetupError, UnreachableError
from riverlens_wall.board import Board
from riverlens_wall.guard import add_headers, guard
from riverlens_wall.looks import look_at
from riverlens_wall.pages import Pages
from riverlens_wall.painter import Painter
from riverlens_wall.reader import ReaderStatus, TopicReader
from riverlens_wall.settings import WallSettings
from riverlens_wall.viewers import Viewers
from riverlens_wall.waiting import Place
from riverlens_wall.whole_frame import GoneError, WholeFrames
from riverlens_wall.workers import Workers

logger = logging.getLogger(__name__)

_STATUS_EVERY_S = 1.0
_LINGER_S = 10.0
"""Frames are read for so long after the last browser has left: it may only load the page again."""
_FORGET_EVERY_S = 30.0
_MIB = 1024 * 1024
# A request that comes back for every frame costs more than the frames: let Kafka collect some.
_FRAMES = {
    "fetch_max_wait_ms": 200,
    "fetch_min_bytes": 2 * _MIB,
    "fetch_max_bytes": 16 * _MIB,
    "max_partition_fetch_bytes": 4 * _MIB,
}
_EVENTS = {"fetch_max_wait_ms": 150, "fetch_min_bytes": 256 * 1024, "isolation_level": "read_committed"}


class Wall:
    """One wall. `start` listens; `run` works until cancelled; `close` ends it."""

    def __init__(self, settings: WallSettings) -> None:
        self._settings = settings
        self._board = Board(settings)
        self._painter = Painter(self._board.cameras, settings.images_per_second)
        self._viewers = Viewers(settings.max_viewers, self._painter.picture)
        self._workers = Workers(settings.metrics_url)
        self._whole = WholeFrames(settings.kafka, settings.frames_topic)
        self._pages = Pages()
        self._frames_status = ReaderStatus("idle")
        self._events = TopicReader(
            settings.kafka,
            settings.events_topic,
            "events_topic",
            _EVENTS,
            take=self._take_events,
            began=self._board.events_began,
        )
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; returns the page's address.

        Raises:
            SetupError: the port is taken or the address is not this machine's.
        """
        app = web.Application(middlewares=[guard(self._settings.allowed_hosts)])
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", self._pages.index)
        app.router.add_get("/static/{name}", self._pages.file)
        app.router.add_get("/live", self._live)
        app.router.add_get(r"/frame/{partition:\d{1,9}}/{offset:\d{1,18}}", self._frame)
        app.router.add_get(r"/event/{partition:\d{1,9}}/{offset:\d{1,18}}", self._event)
        app.router.add_get("/healthz", _healthz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        host, port = self._settings.wall_host, self._settings.wall_port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SetupError(
                f"cannot listen on {host}:{port} ({error.strerror}); see wall_host and wall_port (0: any)"
            ) from None
        bound: int = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}/"

    async def run(self) -> None:
        """Read, paint and tell until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events.run())
            tasks.create_task(self._while_watched())
            tasks.create_task(self._tell())
            tasks.create_task(self._forget())

    async def close(self) -> None:
        """Close all connections."""
        await self._viewers.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _while_watched(self) -> None:
        """Frames, pictures and metrics cost something: only while a browser is there."""
        while True:
            await self._viewers.watched.wait()
            settings = self._settings
            frames = TopicReader(
                settings.kafka,
                settings.frames_topic,
                "frames_topic",
                _FRAMES,
                take=self._take_frames,
                began=self._board.frames_began,
            )
            self._frames_status = frames.status
            painting = self._painter.run(self._viewers.wanted, self._viewers.painted)
            parts = [asyncio.create_task(part) for part in (frames.run(), painting, self._workers.run())]
            try:
                await self._until_unwatched(parts)
            finally:
                for task in parts:
                    task.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
                self._frames_status = ReaderStatus("idle")
                self._board.frames_ended()

    async def _until_unwatched(self, parts: Sequence[asyncio.Task[None]]) -> None:
        left_s: float | None = None
        while left_s is None or time.monotonic() - left_s < _LINGER_S:
            ended, _ = await asyncio.wait(parts, timeout=1.0, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended:
                task.result()
            if self._viewers:
                left_s = None
            elif left_s is None:
                left_s = time.monotonic()

    def _take_frames(self, records: Sequence[Any]) -> None:
        self._board.take_frames(records, time.monotonic())

    def _take_events(self, records: Sequence[Any]) -> None:
        self._board.take_events(records, time.monotonic())

    async def _tell(self) -> None:
        """The status, once a second, the same for all."""
        while True:
            await asyncio.sleep(_STATUS_EVERY_S)
            if self._viewers:
                text = self._status()
                for viewer in self._viewers:
                    viewer.tell(text)

    def _status(self) -> str:
        away = [status.why for status in (self._events.status, self._frames_status) if status.state == "away"]
        return _text(
            self._board.status(
                time.monotonic(),
                time.time_ns() // 1_000_000,
                reading_frames=self._frames_status.state == "connected",
                kafka_away=away[0] if away else "",
                metrics=(self._workers.reading, self._workers.late, self._workers.away),
            )
        )

    def _greeting(self) -> str:
        settings = self._settings
        return _text(
            {
                "type": "hello",
                "version": __version__,
                "frames_topic": settings.frames_topic,
                "events_topic": settings.events_topic,
                "bootstrap_servers": settings.kafka.bootstrap_servers,
            }
        )

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_EVERY_S)
            self._board.forget(time.monotonic())

    async def _live(self, request: web.Request) -> web.StreamResponse:
        return await self._viewers.serve(request, self._greeting())

    async def _frame(self, request: web.Request) -> web.Response:
        """The whole frame, as it is on Kafka, where a browser can show it."""
        try:
            frame = await self._whole.fetch(_place(request))
        except GoneError as error:
            return _why(404, str(error))
        except UnreachableError as error:
            return _why(503, str(error))
        look = look_at(frame.image, frame.content_type)
        if not look.mime:
            return _why(415, look.note)
        # A camera's pictures do not belong into a browser's cache.
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=frame.image, content_type=look.mime, headers=headers)

    async def _event(self, request: web.Request) -> web.Response:
        """The event's JSON, as it is on Kafka."""
        value = self._board.events.get(_place(request))
        if value is None:
            # Not 404: the page asks again, and a browser's console calls that an error each time.
            return _why(202, "no event of this frame has come, or it came too long ago")
        return web.Response(
            body=value, content_type="application/json", headers={"Cache-Control": "no-store"}
        )


def _place(request: web.Request) -> Place:
    return Place(int(request.match_info["partition"]), int(request.match_info["offset"]))


def _why(status: int, why: str) -> web.Response:
    return web.json_response({"why": why}, status=status, headers={"Cache-Control": "no-store"})


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _text(body: dict[str, Any]) -> str:
    return orjson.dumps(body).decode()
