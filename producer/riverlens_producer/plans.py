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
from riverlens_producer.camera import CameraPlan
from riverlens_producer.images import ImageFiles
from riverlens_producer.settings import ProducerSettings
from riverlens_producer.sources import (
    Showing,
    Source,
    SourceError,
    content_type,
    image_files,
    parse_sources,
)
from riverlens_producer.video import VideoFile


async def open_files(settings: ProducerSettings, pool: Executor, stack: AsyncExitStack) -> list[CameraPlan]:
    """Open the cameras of every `--source`; `stack` closes them.

    Raises:
        SourceError: a source is missing or unusable, or two have one camera id.
    """
    plans = [
        _plan(settings, spec.camera_id, file_source(spec.path, settings, pool))
        for spec in parse_sources(settings.source)
    ]
    if settings.synthetic:
        clash = {plan.camera_id for plan in plans} & set(synthetic.camera_ids(settings.cameras))
        if clash:
            raise SourceError(f"source: camera {min(clash)!r} is a synthetic one; see --source, --synthetic")
    for plan in plans:
        stack.push_async_callback(plan.source.close)
        await plan.source.open()
    return plans


async def open_synthetic(
    settings: ProducerSettings, pool: Executor, drawn: Callable[[int, int], None]
) -> list[CameraPlan]:
    """Draw the synthetic cameras' scenes. `drawn(done, of)` tells how far that is."""
    ids = synthetic.camera_ids(settings.cameras) if settings.synthetic else []
    loops = await _draw(settings, ids, pool, drawn)
    return [
        _plan(settings, camera_id, synthetic.SyntheticCamera(scenes, fps=settings.fps))
        for camera_id, scenes in zip(ids, loops, strict=True)
    ]


def spread(plans: list[CameraPlan]) -> list[CameraPlan]:
    """The cameras with phases that spread their frames evenly over a period."""
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
    showing = Showing(settings.fps, settings.loop, settings.size_px, settings.quality)
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
