"""Connections to cameras that are slow, far between, hostile or silent, on sockets of this process."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from aiohttp import web
from aiohttp.test_utils import TestServer

from riverlens_producer.cameras import Camera
from riverlens_producer.failures import Cause
from riverlens_producer.link import Intake, LinkStats, Offer, Shot
from riverlens_producer.live import LiveSource
from riverlens_producer.plans import link_to, open_cameras
from riverlens_producer.settings import ProducerSettings
from tests.harness.waiting import wait_for

JPEG = bytes(simplejpeg.encode_jpeg(np.zeros((48, 64, 3), np.uint8), 90))
MJPEG = "multipart/x-mixed-replace; boundary=b"
PART = b"--b\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(JPEG), JPEG)
_CLOCK_OFF_MS = -3_600_000


@asynccontextmanager
async def _served(answer: Callable[[web.Request], object]) -> AsyncIterator[str]:
    """An address that gives this answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        made = answer(request)
        found = await made if asyncio.iscoroutine(made) else made
        assert isinstance(found, web.StreamResponse)
        return found

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/camera"))


@asynccontextmanager
async def _source(camera: Camera) -> AsyncIterator[tuple[LiveSource, LinkStats]]:
    stats, link = LinkStats(), link_to(camera)
    assert link is not None
    with ThreadPoolExecutor(1) as pool:
        source = LiveSource(camera, link, pool, stats)
        await source.open()
        try:
            yield source, stats
        finally:
            await source.close()


async def test_a_camera_may_take_longer_to_answer_than_a_stall_is() -> None:
    """Until the first frame connect_s counts, stall_s only between frames."""
    stall_s = 0.2

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(3 * stall_s)
        return web.Response(body=2 * PART, headers={"Content-Type": MJPEG})

    async with (
        _served(slow) as url,
        _source(Camera(id="a", url=url, stall_s=stall_s, connect_s=60)) as (source, stats),
    ):
        assert (await source.picture(0)).image == JPEG
        assert stats.reconnects[Cause.STALLED] == 0


async def test_nothing_is_unpacked() -> None:
    """A small answer cannot become a large one: what is sent compressed all the same is no picture."""
    asked: list[str] = []

    def packed(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        headers = {"Content-Type": "image/jpeg", "Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(JPEG), headers=headers)

    async with _served(packed) as url, _source(Camera(id="a", url=url, fps=100)) as (_, stats):

        async def two_broken() -> bool:
            return stats.broken >= 2

        await wait_for(two_broken, what="answers that are no pictures")
        assert stats.received == 0
    assert set(asked) == {"identity"}


@pytest.mark.parametrize("login", ["", "me:hushhush@"])
async def test_a_host_that_is_none_is_a_line(login: str, caplog: pytest.LogCaptureFixture) -> None:
    """What only the connection finds wrong with an address is told, without its login, and tried again."""
    async with _source(Camera(id="a", url=f"http://{login}camera\\.example/s")) as (_, stats):

        async def failed() -> bool:
            return stats.reconnects[Cause.UNREADABLE] > 0

        await wait_for(failed, what="a failure")
    assert "not an address" in caplog.text
    assert "hushhush" not in caplog.text


async def test_a_redirect_does_not_take_the_login_along() -> None:
    """The camera asks for it and gets it; who it sends us to may ask, too, and gets nothing."""
    given: list[str | None] = []

    def stranger(request: web.Request) -> web.Response:
        given.append(request.headers.get("Authorization"))
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    async with _served(stranger) as elsewhere:

        def camera(request: web.Request) -> web.Response:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            return web.Response(status=302, headers={"Location": elsewhere})

        async with _served(camera) as url, _source(_with_login(url)) as (_, stats):

            async def denied() -> bool:
                return stats.reconnects[Cause.DENIED] > 0

            await wait_for(denied, what="a refusal")
    assert set(given) == {None}


def _with_login(url: str) -> Camera:
    return Camera(id="a", url=url.replace("://", "://me:hushhush@"))


async def test_cameras_are_left_together(tmp_path: Path) -> None:
    """Thirty cameras that take the connection and never answer: the stop waits for all of them at once."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = silent.getsockname()[1]
    tables = (
        f'[[camera]]\nid = "{n}"\nurl = "rtsp://127.0.0.1:{port}/{n}"\nconnect_s = 100\nstall_s = 100\n'
        for n in range(30)
    )
    (tmp_path / "cameras.toml").write_text("".join(tables))
    settings = ProducerSettings(cameras_file=tmp_path / "cameras.toml")
    with silent, ThreadPoolExecutor(1) as pool:
        async with AsyncExitStack() as stack:
            await open_cameras(settings, pool, stack)

            async def connecting() -> bool:
                return {f"camera {n}" for n in range(30)} <= {thread.name for thread in threading.enumerate()}

            await wait_for(connecting, what="thirty threads")
            start_s = time.monotonic()
        assert time.monotonic() - start_s < 15


def _clip(path: Path, *, seconds: int, key_frame_s: int, fps: int = 2) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.gop_size = 64, 48, key_frame_s * fps
        # Always the same picture: a change of scene would bring a key frame of its own.
        pixels = np.zeros((48, 64, 3), np.uint8)
        for _ in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


async def test_a_frame_that_is_held_back_is_no_stall(tmp_path: Path) -> None:
    """A clip's key frames 2 s apart are shown so on one connection, though a stall is a second and a half."""
    _clip(tmp_path / "clip.mp4", seconds=3, key_frame_s=2)
    async with _served(lambda _: web.FileResponse(tmp_path / "clip.mp4")) as url:
        camera = Camera(id="a", url=url, keyframes_only=True, stall_s=1.5, connect_s=60)
        async with _source(camera) as (source, stats):
            for number in range(2):
                assert await source.picture(number) is not None
            assert stats.reconnects[Cause.STALLED] == 0


class _LateClock:
    """A connection whose camera tells a wrong time only with its second frame, as RTSP cameras do."""

    async def run(self, intake: Intake) -> None:
        """Two frames, then nothing."""
        intake.opened(Offer("test", "jpeg"))
        for number, off_ms in enumerate((0, _CLOCK_OFF_MS)):
            intake.takes(float(number))
            intake.stats.clock_off_ms = off_ms
            intake.put(Shot(lambda: JPEG, "image/jpeg", 1))
        await asyncio.Event().wait()


async def test_a_clock_that_is_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """However late it shows, and however often the camera is connected anew."""
    caplog.set_level(logging.INFO)
    camera = Camera(id="a", url="rtsp://camera.example/s", stall_s=0.1, reconnect_max_s=0.1)
    stats = LinkStats()
    with ThreadPoolExecutor(1) as pool:
        source = LiveSource(camera, _LateClock(), pool, stats)
        await source.open()

        async def anew() -> bool:
            return stats.reconnects.total() >= 3

        await wait_for(anew, what="connections")
        await source.close()
    told = [line for line in caplog.messages if "its clock is off" in line]
    assert told == ["a: its clock is off by -3600 s: times of arrival are used; set its NTP server"]
