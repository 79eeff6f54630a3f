"""One camera's loop: take a picture, wait until it is due, send it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from riverlens.frame import Frame
from riverlens.frame_buffer import WhenFull
from riverlens.frame_producer import FrameTooLargeError
from riverlens_producer.link import LinkStats
from riverlens_producer.pacing import Timetable
from riverlens_producer.sources import Picture, Source
from riverlens_producer.summary import CameraCounts

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where frames go; FrameProducer is one."""

    async def send(
        self, frame: Frame, *, when_full: WhenFull | None = None, partition: int | None = None
    ) -> bool:
        """As FrameProducer.send."""


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """What one camera is to do.

    Attributes:
        phase: part of a frame period by which it comes after others, 0 to 1: spreads the load.
        frames: stop after so many, or None.
        duration_s: stop so many seconds after the start, or None.
        partition: where its frames go; None: where its key says.
        stats: how its connection fares.
    """

    camera_id: str
    source: Source
    when_full: WhenFull
    phase: float = 0.0
    frames: int | None = None
    duration_s: float | None = None
    partition: int | None = None
    stats: LinkStats = field(default_factory=LinkStats)


def timetable(plan: CameraPlan, start_s: float) -> Timetable:
    """The camera's clock. A source with times of its own (fps None) paces by them: its period is unused."""
    fps = plan.source.fps
    if fps == 0:
        return Timetable(start_s, None, plan.source.live)
    period_s = 1.0 if fps is None else 1 / fps
    return Timetable(start_s + plan.phase * (0.0 if fps is None else period_s), period_s, plan.source.live)


async def run_camera(
    plan: CameraPlan,
    producer: Sink,
    counts: CameraCounts,
    *,
    start_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Send the source's pictures until it ends or the plan is fulfilled.

    Raises:
        SourceError: the source fails.
        UnreachableError: Kafka refuses us for good.
    """
    times = timetable(plan, start_s)
    end_s = math.inf if plan.duration_s is None else start_s + plan.duration_s
    sequence = 0
    while plan.frames is None or counts.sent + counts.refused < plan.frames:
        picture = await _picture(plan, sequence, end_s - clock())
        if picture is None:
            return
        sequence += picture.missed
        counts.skipped += picture.missed
        due_s = times.due_s(sequence, picture.offset_s)
        now_s = clock()
        if max(due_s, now_s) >= end_s:
            return
        # Even a camera behind its time lets the others have a turn.
        await sleep(max(0.0, due_s - now_s))
        await _send(producer, plan, picture, sequence, counts)
        following = times.after(sequence, clock())
        counts.skipped += following - sequence - 1
        sequence = following


async def _picture(plan: CameraPlan, sequence: int, left_s: float) -> Picture | None:
    """The next picture; None at the source's end, or where a camera gives none within `left_s`."""
    if left_s == math.inf or not plan.source.live:
        return await plan.source.picture(sequence)
    try:
        async with asyncio.timeout(max(0.0, left_s)):
            return await plan.source.picture(sequence)
    except TimeoutError:
        return None


async def _send(
    producer: Sink, plan: CameraPlan, picture: Picture, sequence: int, counts: CameraCounts
) -> None:
    frame = Frame(
        camera_id=plan.camera_id,
        image=picture.image,
        captured_at_ms=time.time_ns() // 1_000_000
        if picture.captured_at_ms is None
        else picture.captured_at_ms,
        frame_id=picture.name or str(sequence),
        sequence=sequence,
        content_type=picture.content_type,
    )
    try:
        await producer.send(frame, when_full=plan.when_full, partition=plan.partition)
    except FrameTooLargeError as error:
        if not counts.refused:
            of_frame = {"camera": frame.camera_id, "frame_id": frame.frame_id}
            _log.warning("%s; further ones are only counted", error, extra=of_frame)
        counts.refused += 1
        return
    plan.stats.captured_at_ms = frame.captured_at_ms
    if plan.stats.offer is None:
        # Files and scenes have no connection that would tell.
        plan.stats.up = True
        plan.stats.received += 1
    counts.sent += 1
    counts.sent_bytes += len(picture.image)
