"""What else FFmpeg opens by address: HLS, a clip on a web server, MPEG-TS over UDP, RTMP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from riverlens.broker.ports import free_ports
from riverlens_producer.cameras import Camera
from riverlens_producer.failures import Cause, LinkError
from riverlens_producer.found import Found
from riverlens_producer.probe import probe
from tests.debian_tools import run_tool, tool

pytestmark = [pytest.mark.tools, pytest.mark.timeout(120)]

_SECONDS = 3.0


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 8 s at 15 frames/s, and the same as HLS segments of 2 s."""
    folder = tmp_path_factory.mktemp("media")
    clip = str(folder / "clip.mp4")
    picture = "testsrc=size=320x240:rate=15"
    run_tool("ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-t", "8", "-pix_fmt", "yuv420p",
             "-g", "15", clip)  # fmt: skip
    run_tool("ffmpeg", "-v", "error", "-i", clip, "-c", "copy", "-hls_time", "2", "-hls_list_size", "0",
             str(folder / "live.m3u8"))  # fmt: skip
    return folder


@asynccontextmanager
async def _web_server(folder: Path) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _sender(media: Path, kind: str, *target: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        tool("ffmpeg"), "-v", "quiet", "-re", "-stream_loop", "-1", "-i", str(media / "clip.mp4"),
        "-c", "copy", "-f", kind, *target,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def _probe_once_it_listens(camera: Camera) -> Found:
    # A connection to look whether it listens would be the one that it waits for.
    async with asyncio.timeout(60):
        while True:
            try:
                return await probe(camera, _SECONDS)
            except LinkError as error:
                if error.cause is not Cause.UNREACHABLE:
                    raise


@pytest.mark.parametrize(("name", "kind"), [("clip.mp4", "mov"), ("live.m3u8", "HLS")])
async def test_what_comes_in_bunches_is_shown_in_real_time(media: Path, name: str, kind: str) -> None:
    """A clip and a segment are there at once; their frames come at the rate they were filmed at."""
    async with _web_server(media) as server:
        found = await probe(Camera(id="a", url=f"{server}/{name}"), _SECONDS)
    assert kind in found.offer.kind
    assert (found.width, found.height, found.offer.codec) == (320, 240, "h264")
    # The span is that of the stream, all eight seconds of which are there; the wait is that of a clock.
    assert 1 <= found.span_s <= _SECONDS + 0.6
    assert found.frames == pytest.approx(found.span_s * 15, abs=3)


async def test_mpeg_ts_over_udp(media: Path) -> None:
    """An encoder that sends to a port of ours is a camera."""
    (port,) = free_ports(1)
    async with _sender(media, "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"):
        found = await probe(Camera(id="a", url=f"udp://127.0.0.1:{port}"), _SECONDS)
    assert (found.offer.kind, found.width, found.height) == ("MPEG-TS", 320, 240)
    assert found.fps == pytest.approx(15, abs=2)


async def test_rtmp_and_its_key_is_not_shown(media: Path) -> None:
    """An RTMP server is a camera; the last part of its path is commonly its key."""
    url = f"rtmp://127.0.0.1:{free_ports(1)[0]}/live/hushhush"
    async with _sender(media, "flv", "-listen", "1", url):
        found = await _probe_once_it_listens(Camera(id="a", url=url))
    assert (found.offer.kind, found.width, found.height) == ("RTMP", 320, 240)
    assert "hushhush" not in str(found.as_json())
