"""From settings to opened cameras: which source each one shows and how it is paced."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from riverlens.frame_buffer import WhenFull
from riverlens_producer import synthetic
from riverlens_producer.av_link import AvLink
from riverlens_producer.camera import CameraPlan
from riverlens_producer.cameras import Camera
from riverlens_producer.http_link import HttpLink
from riverlens_producer.images import ImageFiles
from riverlens_producer.link import Link, LinkStats
from riverlens_producer.live import LiveSource
from riverlens_producer.placement import place
from riverlens_producer.settings import ProducerSettings
from riverlens_producer.sources import Showing, Source, SourceError, content_type, image_files
from riverlens_producer.video import VideoFile


async def open_cameras(settings: ProducerSettings, pool: Executor, stack: AsyncExitStack) -> list[CameraPlan]:
    """Open the cameras of every `--source` and of the cameras file; `stack` closes them.

    Raises:
        SettingsError: the cameras file is wrong, or two cameras have one id.
        SourceError: a file is missing or unusable.
    """
    cameras = settings.listed_cameras()
    if settings.synthetic:
        clash = {camera.id for camera in cameras} & set(synthetic.camera_ids(settings.cameras))
        if clash:
            raise SourceError(f"source: camera {min(clash)!r} is a synthetic one; see --source, --synthetic")
    plans = [_camera_plan(settings, camera, pool) for camera in cameras]
    stack.push_async_callback(_close, plans)
    for plan in plans:
        await plan.source.open()
    return plans


async def _close(plans: list[CameraPlan]) -> None:
    # Together: a connection that is being made may take a second to end.
    await asyncio.gather(*(plan.source.close() for plan in plans))


def _camera_plan(settings: ProducerSettings, camera: Camera, pool: Executor) -> CameraPlan:
    stats = LinkStats()
    source = _source(camera, pool, stats)
    auto: WhenFull = "drop_oldest" if isinstance(source, LiveSource) else "block"
    return CameraPlan(
        camera.id,
        source,
        auto if camera.when_full == "auto" else camera.when_full,
        frames=settings.frames,
        duration_s=settings.duration_s,
        partition=camera.partition,
        stats=stats,
    )


def _source(camera: Camera, pool: Executor, stats: LinkStats) -> Source:
    link = link_to(camera)
    return (
        file_source(camera.path, camera.showing, pool)
        if link is None
        else LiveSource(camera, link, pool, stats)
    )


def link_to(camera: Camera) -> Link | None:
    """How to connect to a camera; None for files and folders."""
    address = camera.address
    if address is None:
        return AvLink(camera, None) if camera.path.is_char_device() else None
    av_link = AvLink(camera, address)
    return HttpLink(camera, address, av_link) if address.scheme in {"http", "https"} else av_link


async def open_synthetic(
    settings: ProducerSettings, pool: Executor, drawn: Callable[[int, int], None]
) -> list[CameraPlan]:
    """Draw the synthetic cameras' scenes. `drawn(done, of)` tells how far that is."""
    ids = synthetic.camera_ids(settings.cameras) if settings.synthetic else []
    loops = await _draw(settings, ids, pool, drawn)
    return [
        _synthetic_plan(settings, camera_id, synthetic.SyntheticCamera(scenes, fps=settings.fps))
        for camera_id, scenes in zip(ids, loops, strict=True)
    ]


def spread(plans: list[CameraPlan], partitions: int) -> list[CameraPlan]:
    """The cameras with phases that spread their frames evenly over a period, and each in its partition.

    Raises:
        SettingsError: a camera is to have a partition that the topic has not.
    """
    pins = {plan.camera_id: plan.partition for plan in plans if plan.partition is not None}
    places = place([plan.camera_id for plan in plans], pins, partitions)
    return [
        replace(plan, phase=number / len(plans), partition=places[plan.camera_id])
        for number, plan in enumerate(plans)
    ]


def _synthetic_plan(settings: ProducerSettings, camera_id: str, source: Source) -> CameraPlan:
    auto: WhenFull = "block" if source.fps == 0 else "drop_oldest"
    when_full = auto if settings.when_full == "auto" else settings.when_full
    return CameraPlan(camera_id, source, when_full, frames=settings.frames, duration_s=settings.duration_s)


def file_source(path: Path, showing: Showing, pool: Executor) -> Source:
    """The source that fits a path: a folder of images, one image, or a video (animated GIFs included).

    Raises:
        SourceError: nothing is there, it cannot be read, or the folder holds no images.
    """
    if path.is_dir():
        return ImageFiles(image_files(path), showing, pool)
    kind = content_type(_head(path))
    if kind is None or kind == "image/gif":
        return VideoFile(path, showing, pool)
    return ImageFiles([path], showing, pool)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SourceError(f"source: {path}: {reason}; see --source") from None


async def _draw(
    settings: ProducerSettings, ids: list[str], pool: Executor, drawn: Callable[[int, int], None]
) -> list[list[bytes]]:
    loop = asyncio.get_running_loop()
    size, of = settings.size_px or synthetic.DEFAULT_SIZE, len(ids) * settings.scenes
    done = itertools.count(1)

    def one_more() -> None:
        loop.call_soon_threadsafe(lambda: drawn(next(done), of))

    # One job a camera: a street's background is drawn once and by one thread.
    jobs = [
        loop.run_in_executor(
            pool, synthetic.draw_scenes, camera_id, settings.scenes, size, settings.quality, one_more
        )
        for camera_id in ids
    ]
    return await asyncio.gather(*jobs)
