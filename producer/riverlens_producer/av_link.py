"""Cameras that FFmpeg opens (RTSP, RTMP, HLS, UDP, USB devices), each read by a thread of its own.

FFmpeg's calls block. Each has a limit of its own (PyAV's `timeout`), so a thread ends by itself soon after it
is told to, whatever the network does; it is a daemon for the one call without a limit, the resolver's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial

import av
from av.container import InputContainer
from av.stream import Stream

from riverlens_producer.address import Address
from riverlens_producer.av_options import described, failure_of, options_for, shown_late
from riverlens_producer.cameras import Camera
from riverlens_producer.capture import CaptureClock, reference_time_ms
from riverlens_producer.failures import Cause, LinkError
from riverlens_producer.link import Intake, Shot
from riverlens_producer.pacing import RealTime
from riverlens_producer.pictures import Look, whole_jpeg
from riverlens_producer.video import encode_frame, media_time

_MOST_TIMES = 64
_GRACE_S = 1.0


class AvLink:
    """Connects by FFmpeg.

    Args:
        camera: how to treat it.
        address: where; None: the camera's path, a video device.
    """

    def __init__(self, camera: Camera, address: Address | None) -> None:
        self._camera = camera
        self._address = address
        self._last: asyncio.Future[None] | None = None

    async def run(self, intake: Intake) -> None:
        """As Link.run."""
        # A camera has one thread: a connection that does not end yet (the resolver) is waited for.
        if self._last is not None and not self._last.done():
            await asyncio.wait({self._last})
        loop = asyncio.get_running_loop()
        reader = _Reader(self._camera, self._address, intake)
        ended = self._last = loop.create_future()
        thread = threading.Thread(
            target=_run, args=(reader, loop, ended), name=f"camera {self._camera.id}", daemon=True
        )
        thread.start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            reader.stop.set()
            await asyncio.wait({ended}, timeout=_GRACE_S)
            raise


def _encoded(frame: av.VideoFrame, look: Look) -> bytes:
    try:
        return encode_frame(frame, look)
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from None


def _run(reader: _Reader, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    error: BaseException | None = None
    try:
        reader.read()
    except LinkError as failure:
        error = failure
    except (av.FFmpegError, OSError, ValueError) as failure:
        error = failure_of(failure)
    except BaseException as defect:  # noqa: BLE001  # raised again where somebody waits
        error = defect
    try:
        loop.call_soon_threadsafe(_settle, ended, error)
    except RuntimeError:
        return  # the loop has ended meanwhile: nobody waits


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
        ended.exception()  # a connection that was given up has nobody to read it


class _Reader:
    """One connection's thread."""

    def __init__(self, camera: Camera, address: Address | None, intake: Intake) -> None:
        self.stop = threading.Event()
        self._camera = camera
        self._address = address
        self._intake = intake
        self._clock = CaptureClock(trusted=camera.clock == "camera")
        self._times: OrderedDict[int, int] = OrderedDict()
        self._passes = False

    def read(self) -> None:
        """Read until the stream ends, or `stop`."""
        camera, address = self._camera, self._address
        where = str(camera.path) if address is None else address.whole
        container = av.open(
            where,
            format=camera.format or ("v4l2" if address is None else None),
            options=options_for(camera, address),
            timeout=(camera.connect_s, camera.stall_s),
        )
        with container:
            if not container.streams.video:
                raise LinkError(Cause.UNREADABLE, "it has no video")
            self._prepare(container)
            self._show(container)

    def _prepare(self, container: InputContainer) -> None:
        stream = container.streams.video[0]
        # Frame threads would hold back as many frames as there are threads.
        stream.thread_type = "SLICE"
        if self._camera.keyframes_only:
            stream.codec_context.skip_frame = "NONKEY"
        self._passes = stream.codec_context.name == "mjpeg" and self._camera.look.as_is
        self._intake.opened(described(container, self._camera, self._address, passes=self._passes))

    def _show(self, container: InputContainer) -> None:
        media, pace = media_time(container), RealTime() if shown_late(container) else None
        for time_s, shot in self._shots(container):
            offset_s = media.offset_s(time_s)
            if pace is not None:
                wait_s = pace.wait_s(offset_s, time.monotonic())
                self._intake.alive(wait_s)
                if self.stop.wait(wait_s):
                    return
            if self._intake.takes(offset_s):
                self._intake.put(shot())

    def _shots(self, container: InputContainer) -> Iterator[tuple[float | None, partial[Shot]]]:
        stream = container.streams.video[0]
        for packet in container.demux():
            if self.stop.is_set():
                return
            if packet.stream_index != stream.index:
                continue
            if self._camera.keyframes_only:
                self._intake.alive()  # key frames may be farther apart than a stall is long
            told_ms = self._told_ms(packet)
            data = bytes(packet) if self._passes else b""
            if self._passes and whole_jpeg(data):
                time_s = None if packet.pts is None else float(packet.pts * packet.time_base)
                yield time_s, partial(self._shot, partial(bytes, data), told_ms)
            else:
                yield from self._decoded(packet)

    def _decoded(self, packet: av.Packet[Stream]) -> Iterator[tuple[float | None, partial[Shot]]]:
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            self._intake.stats.broken += 1
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                told_ms = None if frame.pts is None else self._times.pop(frame.pts, None)
                yield (
                    frame.time,
                    partial(self._shot, partial(_encoded, frame, self._camera.look), told_ms),
                )

    def _shot(self, make: partial[bytes], told_ms: int | None) -> Shot:
        captured_at_ms = self._clock.captured_at_ms(told_ms, time.time_ns() // 1_000_000)
        stats = self._intake.stats
        stats.from_camera, stats.clock_off_ms = self._clock.used, self._clock.off_ms
        return Shot(make, "image/jpeg", captured_at_ms)

    def _told_ms(self, packet: av.Packet[Stream]) -> int | None:
        """The camera's time of a packet, kept for the frame that comes of it."""
        if not packet.has_sidedata("prft"):
            return None
        told_ms = reference_time_ms(bytes(packet.get_sidedata("prft")))
        if told_ms is not None and packet.pts is not None:
            self._times[packet.pts] = told_ms
            if len(self._times) > _MOST_TIMES:
                self._times.popitem(last=False)
        return told_ms
