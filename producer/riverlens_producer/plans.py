"""From settings to opened cameras: which source each one shows and how it is paced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from riverlens.frame_buffer import WhenFull
from riverlens_producer import synthetic
from riverlens_producer.camera import CameraPlan
from riverlens_producer.images import ImageFiles
from riverlens_producer.settings import ProducerSettings
from riverlens_producer.sources import Source, SourceError, content_type, image_files, parse_sources
from riverlens_producer.video import VideoFile


async def open_cameras(
    settings: ProducerSettings, pool: Executor, stack: AsyncExitStack, drawn: Callable[[int, int], None]
) -> list[CameraPlan]:
    """Open every source; `stack` closes them. `drawn(done, of)` tells how far drawing the scenes is.

    Raises:
        SourceError: a source is missing or unusable, or two have one camera id.
    """
    plans = [
        _plan(settings, spec.camera_id, file_source(spec.path, settings, pool))
        for spec in parse_sources(settings.source)
    ]
    if settings.synthetic:
        ids = synthetic.camera_ids(settings.cameras)
        clash = {plan.camera_id for plan in plans} & set(ids)
        if clash:
            raise SourceError(f"source: camera {min(clash)!r} is a synthetic one; see --source, --synthetic")
    for plan in plans:
        await plan.source.open()
        stack.push_async_callback(plan.source.close)
    if settings.synthetic:
        loops = await _draw(settings, ids, pool, drawn)
        plans += [
            _plan(settings, camera_id, synthetic.SyntheticCamera(scenes, fps=settings.fps))
            for camera_id, scenes in zip(ids, loops, strict=True)
        ]
    return [replace(plan, phase=number / len(plans)) for number, plan in enumerate(plans)]


def _plan(settings: ProducerSettings, camera_id: str, source: Source) -> CameraPlan:
    when_full: WhenFull = "block"
    if settings.when_full != "auto":
        when_full = settings.when_full
    elif source.live and source.fps != 0:
        when_full = "drop_oldest"
    return CameraPlan(camera_id, source, when_full, frames=settings.frames, duration_s=settings.duration_s)


def file_source(path: Path, settings: ProducerSettings, pool: Executor) -> Source:
    """The source that fits a path: a folder of images, one image, or a video (animated GIFs included).

    Raises:
        SourceError: nothing is there, it cannot be read, or the folder holds no images.
    """
    if path.is_dir():
        files = image_files(path)
    else:
        head = _head(path)
        kind = content_type(head)
        if kind is None or kind == "image/gif":
            return VideoFile(
                path,
                pool=pool,
                fps=settings.fps,
                loop=settings.loop,
                limit=settings.size_px,
                quality=settings.quality,
            )
        files = [path]
    return ImageFiles(
        files,
        pool=pool,
        fps=settings.fps,
        loop=settings.loop,
        limit=settings.size_px,
        quality=settings.quality,
    )


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
    size, total = settings.size_px or synthetic.DEFAULT_SIZE, len(ids) * settings.scenes
    done = 0

    async def one(camera_id: str, number: int) -> bytes:
        nonlocal done
        scene = await loop.run_in_executor(
            pool, synthetic.draw_scene, camera_id, number, size, settings.quality
        )
        done += 1
        drawn(done, total)
        return scene

    return [
        await asyncio.gather(*(one(camera_id, number) for number in range(settings.scenes)))
        for camera_id in ids
    ]
