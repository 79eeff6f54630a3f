"""`riverlens producer run`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import orjson
from prometheus_client import CollectorRegistry

from riverlens.admin import Admin
from riverlens.errors import RiverlensError, SettingsError, UnreachableError
from riverlens.frame import Frame
from riverlens.frame_delivery import Outcome
from riverlens.frame_producer import FrameProducer
from riverlens.logs import set_up_logs
from riverlens.settings import load
from riverlens.trace_counts import SpanCounts
from riverlens.tracing import CLOSE_S, SpanExport, open_export
from riverlens_producer.camera import CameraPlan, run_camera
from riverlens_producer.camera_metrics import CameraCollector
from riverlens_producer.link import LinkStats
from riverlens_producer.plans import open_cameras, open_synthetic, spread
from riverlens_producer.progress import Progress
from riverlens_producer.settings import ProducerSettings, gather_sources
from riverlens_producer.summary import CameraCounts, Meter, as_json, as_line
from riverlens_producer.tracing import TracedSink

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger(__name__)


def main(argv: list[str], prog: str) -> int:
    """Send until the sources end or a signal comes, then print the summary; returns the exit code.

    SIGINT or SIGTERM: stop reading, let Kafka acknowledge what was sent, summary, 0. A second one: at once.
    """
    settings = load(ProducerSettings, gather_sources(argv), prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    return asyncio.run(ProducerRun(settings).run())


class ProducerRun:
    """One run of the producer, from settings to summary.

    Attributes:
        counts: by camera id, while it runs and afterwards.
        stats: by camera id, how its connection fares.
        admin_port: where /metrics is, once it is; 0: nowhere.
    """

    def __init__(self, settings: ProducerSettings) -> None:
        self.counts: dict[str, CameraCounts] = {}
        self.stats: dict[str, LinkStats] = {}
        self.admin_port = 0
        self._settings = settings
        self._stop = asyncio.Event()
        self._not_ready = "starting"
        self._progress = Progress(Meter(self.counts), settings.progress, down=self._down)
        self._seconds = 0.0
        self._traced: TracedSink | None = None

    def stop(self) -> None:
        """Read nothing more; what was sent is still delivered."""
        self._stop.set()

    async def run(self) -> int:
        """Run to the end; returns 0.

        Raises:
            SettingsError: the cameras file is wrong, or a partition that the topic has not.
            SourceError: a source is wrong from the start, or failed (the others were sent to their end).
            UnreachableError: Kafka is not there, has no such topic or refuses us.
            DeliveryError: frames did not arrive.
        """
        self._listen(asyncio.current_task())
        failure: RiverlensError | None = None
        pool = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="pictures")
        try:
            async with AsyncExitStack() as stack:
                await self._run(pool, stack)
        except RiverlensError as error:
            failure = error
        finally:
            pool.shutdown(cancel_futures=True)
            for number in _SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)
        if self.counts:
            self._report()
        if failure is not None:
            raise failure
        return 0

    async def _run(self, pool: Executor, stack: AsyncExitStack) -> None:
        settings = self._settings
        # Cameras first, drawing last: what is quick to find wrong is told first.
        cameras = await self._unless_stopped(open_cameras(settings, pool, stack))
        if cameras is None:
            return
        export = await self._open_export(stack)
        producer = FrameProducer(
            settings.kafka,
            topic=settings.frames_topic,
            buffer_bytes=settings.buffer_bytes,
            max_frame_bytes=settings.max_frame_bytes,
            close_timeout_s=settings.drain_timeout_s,
            on_settled=self._settled,
        )
        if export is not None:
            topic, ratio = settings.frames_topic, settings.tracing_ratio
            self._traced = TracedSink(producer, export, topic=topic, ratio=ratio)
        await self._serve_metrics(producer, export, stack)
        if await self._unless_stopped(stack.enter_async_context(producer)) is None:
            return
        drawn = await self._unless_stopped(open_synthetic(settings, pool, self._progress.drawn))
        if drawn is None:
            return
        plans = spread([*cameras, *drawn], producer.partitions)
        self.stats.update((plan.camera_id, plan.stats) for plan in plans)
        self.counts.update((plan.camera_id, CameraCounts()) for plan in plans)
        self._not_ready = ""
        await self._unless_stopped(self._send(plans, producer))
        self._not_ready = "stopping"

    async def _open_export(self, stack: AsyncExitStack) -> SpanExport | None:
        """Where spans go, if anywhere; it ends after the producer, whose last frames have spans too."""
        settings = self._settings
        export = open_export(settings.tracing, settings.tracing_endpoint, "riverlens-producer")
        if export is not None:
            stack.push_async_callback(export.close, CLOSE_S)
        return export

    async def _serve_metrics(
        self, producer: FrameProducer, export: SpanExport | None, stack: AsyncExitStack
    ) -> None:
        settings = self._settings
        if settings.admin_port is None:
            return
        registry = CollectorRegistry()
        registry.register(CameraCollector(self.counts, self.stats, lambda: producer.stats))
        if export is not None:
            registry.register(SpanCounts(export))
        admin = Admin(registry, lambda: self._not_ready)
        self.admin_port = await admin.start(settings.admin_host, settings.admin_port)
        stack.push_async_callback(admin.close)

    def _down(self) -> list[str]:
        """Cameras that were connected to, or tried, and give no frames now."""
        return [name for name, stats in self.stats.items() if not stats.up and stats.reconnects.total()]

    async def _send(self, plans: list[CameraPlan], producer: FrameProducer) -> None:
        start_s = time.monotonic()
        frames = self._settings.frames
        showing = asyncio.create_task(
            self._progress.show(frames=frames and frames * len(plans), duration_s=self._settings.duration_s)
        )
        try:
            ends = await asyncio.gather(
                *(self._show(plan, producer, start_s, alone=len(plans) == 1) for plan in plans),
                return_exceptions=True,
            )
        finally:
            showing.cancel()
            await asyncio.wait([showing])
            self._seconds = time.monotonic() - start_s
        for error in (end for end in ends if isinstance(end, BaseException)):
            raise error

    async def _show(self, plan: CameraPlan, producer: FrameProducer, start_s: float, *, alone: bool) -> None:
        try:
            sink = self._traced or producer
            await run_camera(plan, sink, self.counts[plan.camera_id], start_s=start_s)
        except Exception as error:
            # The others may run for months yet.
            if not alone and not isinstance(error, UnreachableError):
                _log.error("%s: %s", plan.camera_id, str(error) or repr(error))
            raise

    def _settled(self, frame: Frame, outcome: Outcome) -> None:
        self.counts[frame.camera_id].settled(len(frame.image), outcome)
        if self._traced is not None:
            self._traced.settled(frame, outcome)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result; None where the stop came first, the work then being cancelled."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait([working])
        return None if working.cancelled() else working.result()

    def _listen(self, task: asyncio.Task[Any] | None) -> None:
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self.stop()

        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)

    def _report(self) -> None:
        settings = self._settings
        sys.stdout.write(as_line(self.counts, topic=settings.frames_topic, seconds=self._seconds) + "\n")
        if settings.summary_json is None:
            return
        summary = as_json(
            self.counts,
            topic=settings.frames_topic,
            seconds=self._seconds,
            synthetic={"scenes": settings.scenes, "size": settings.size or "640x480"}
            if settings.synthetic
            else None,
        )
        try:
            settings.summary_json.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            raise SettingsError(
                f"summary_json: {settings.summary_json}: {error.strerror}; see --summary-json"
            ) from None
