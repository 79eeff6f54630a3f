"""`riverlens producer probe WHERE`: what a camera or a file offers, before it is used."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import orjson

from riverlens.errors import SettingsError, UnreachableError
from riverlens_producer.cameras import Camera, Transport, from_flags, read_cameras
from riverlens_producer.failures import Cause, LinkError, no_frame
from riverlens_producer.found import Found, looked_at, report, size_of
from riverlens_producer.link import Intake, Link, LinkStats, Newest, Shot
from riverlens_producer.plans import file_source, link_to

_FILE_FRAMES = 50


def main(argv: list[str], prog: str) -> int:
    """Look at each camera for a few seconds and print what was found; 0.

    Raises:
        SettingsError: nothing to look at, or a wrong setting.
        UnreachableError: a line for each camera that gives no frames.
    """
    given = _parser(prog).parse_args(argv)
    cameras = _cameras(given)
    # Warnings are for the log of a run; here the report says it.
    logging.getLogger("riverlens_producer").setLevel(logging.CRITICAL)
    failures = []
    for camera in cameras:
        try:
            found = asyncio.run(probe(camera, given.seconds))
        except LinkError as error:
            failures.append(f"{camera.shown}: {error}")
            continue
        text = orjson.dumps(found.as_json()).decode() if given.json else "\n".join(report(found))
        sys.stdout.write(f"{text}\n")
    if failures:
        raise UnreachableError("\n".join(failures))
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="What a camera or a file offers: codec, size, rate, time to the first frame, and "
        "whether its pictures pass through as they are.",
        epilog="Try:  riverlens producer probe rtsp://USER:PASSWORD@10.0.0.5/stream1",
    )
    add = parser.add_argument
    add("where", nargs="?", help="an address, a file, a folder or a video device; may be CAMERA=WHERE")
    add("--cameras-file", type=Path, metavar="FILE", help="look at the cameras of this file instead")
    add("--id", action="append", metavar="CAMERA", help="of that file, only this one; may be repeated")
    add("--seconds", type=float, default=5.0, help="how long to measure (default: 5)")
    add("--transport", choices=get_args(Transport), help="how RTSP brings the pictures (default: tcp)")
    add("--connect-s", type=float, help="longest wait for the first frame (default: 10)")
    add("--username", help="user at the camera")
    add("--password", help="password of that user; better in the file, or in the address of the environment")
    add("--format", help="FFmpeg's name of the input format, where it cannot be told")
    add("--no-verify-tls", dest="verify_tls", action="store_false", default=None, help="take any certificate")
    add("--json", action="store_true", help="print one JSON object a camera")
    return parser


def _cameras(given: argparse.Namespace) -> list[Camera]:
    names = ("transport", "connect_s", "username", "password", "format", "verify_tls")
    common: dict[str, Any] = {
        name: getattr(given, name) for name in names if getattr(given, name) is not None
    }
    if given.cameras_file is not None:
        listed = read_cameras(given.cameras_file, common)
        cameras = [camera for camera in listed if not given.id or camera.id in given.id]
    else:
        cameras = from_flags([given.where] if given.where else [], common)
    if not cameras:
        raise SettingsError(
            "nothing to look at: give an address or a path, or --cameras-file FILE [--id CAMERA]"
        )
    return cameras


async def probe(camera: Camera, seconds: float) -> Found:
    """Connect, and take frames for `seconds` from the first one on.

    Raises:
        LinkError: no frame came.
        SourceError: a file that cannot be used.
    """
    link = link_to(camera)
    return await (_probe_file(camera) if link is None else _probe_link(camera, link, seconds))


async def _probe_link(camera: Camera, link: Link, seconds: float) -> Found:
    stats, newest = LinkStats(), Newest(asyncio.get_running_loop())
    intake = Intake(newest, stats, None, camera.stall_s)
    running = asyncio.create_task(link.run(intake))
    try:
        shot = await _first(newest, running, camera.connect_s)
        behind_ms = _age_ms(shot)
        with contextlib.suppress(TimeoutError):  # the time to look is over
            async with asyncio.timeout(seconds):
                while not running.done():
                    shot, _ = await newest.take()
                    behind_ms = _age_ms(shot)
    finally:
        intake.close()
        running.cancel()
        await asyncio.wait({running})
    try:
        image = await asyncio.to_thread(shot.make)
    except (OSError, ValueError, SyntaxError) as error:
        raise LinkError(Cause.UNREADABLE, f"a frame cannot be decoded ({error})") from None
    return _found(camera, intake, image, behind_ms)


async def _first(newest: Newest, running: asyncio.Task[None], connect_s: float) -> Shot:
    taking = asyncio.create_task(newest.take())
    try:
        await asyncio.wait({taking, running}, timeout=connect_s, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            return taking.result()[0]
    finally:
        taking.cancel()
    if not running.done():
        raise no_frame(connect_s)
    running.result()
    raise LinkError(Cause.ENDED)


def _age_ms(shot: Shot) -> int:
    return time.time_ns() // 1_000_000 - shot.captured_at_ms


def _found(camera: Camera, intake: Intake, image: bytes, behind_ms: int) -> Found:
    stats = intake.stats
    assert stats.offer is not None  # noqa: S101  # it opened before its first frame
    width, height = size_of(image)
    return Found(
        camera=camera.id,
        where=camera.shown,
        offer=stats.offer,
        width=width,
        height=height,
        image_bytes=len(image),
        first_frame_s=intake.first_s - intake.opened_s,
        frames=stats.received,
        span_s=intake.span_s,
        clock=("camera" if stats.from_camera else "off" if stats.clock_off_ms else "arrival"),
        behind_ms=stats.clock_off_ms or behind_ms,
        broken=stats.broken,
    )


async def _probe_file(camera: Camera) -> Found:
    start_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        source = file_source(camera.path, camera.showing, pool)
        await source.open()
        try:
            first = await source.picture(0)
            first_frame_s = time.monotonic() - start_s
            if first is None:
                raise LinkError(Cause.UNREADABLE, "it holds no picture")
            offsets = [first.offset_s or 0.0]
            while len(offsets) < _FILE_FRAMES and (picture := await source.picture(len(offsets))) is not None:
                offsets.append(picture.offset_s or 0.0)
        finally:
            await source.close()
    width, height = size_of(first.image)
    return Found(
        camera=camera.id,
        where=camera.shown,
        offer=looked_at(camera),
        width=width,
        height=height,
        image_bytes=len(first.image),
        first_frame_s=first_frame_s,
        frames=len(offsets),
        span_s=offsets[-1] - offsets[0],
        clock="sent",
    )
