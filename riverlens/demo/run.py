"""`riverlens demo`: start everything, watch it, stop it, and leave numbers and pictures."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from riverlens.demo import pictures
from riverlens.demo.models import DemoModel, demo_model
from riverlens.demo.observer import Observer
from riverlens.demo.score import Score, score_frame
from riverlens.demo.settings import DemoSettings
from riverlens.demo.summary import Summary, final_balance
from riverlens.demo.system import DemoSystem, Paths
from riverlens.demo.table import LiveTable
from riverlens.demo.worker_metrics import WorkerMetrics, read_metrics
from riverlens.errors import RiverlensError, SettingsError, SetupError
from riverlens.logs import set_up_logs
from riverlens.scenes.truth import SceneObject
from riverlens.settings import load
from riverlens.topics import TopicsSettings
from riverlens_producer.synthetic import DEFAULT_SIZE, scene_number

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_CATCH_UP_S = 10.0
_PICTURES = 6
_STREET_HINT = (
    "the demo's own detector knows only synthetic streets; for real pictures give a model: "
    "make demo VIDEO=... MODEL=path/to/saved_model LABELS=coco"
)


def main(argv: list[str], prog: str) -> int:
    """0 where frames went through and the numbers balance, else 1."""
    settings = load(DemoSettings, argv, prog=prog)
    if settings.video is not None and not settings.video.exists():
        raise SettingsError(f"video: {settings.video} does not exist; see --video")
    set_up_logs("warning")
    with demo_model(settings.model) as model:
        return asyncio.run(_Demo(settings, model).run())


class _Demo:
    """One run of the demo."""

    def __init__(self, settings: DemoSettings, model: DemoModel) -> None:
        self._settings = settings
        self._model = model
        self._paths = Paths(settings.output)
        self._console = Console(highlight=False)
        self._system = DemoSystem(settings, model, self._paths)
        self._stop = asyncio.Event()
        self._started_s = time.monotonic()
        self._metrics = WorkerMetrics()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            return await self._show()
        finally:
            await asyncio.to_thread(self._system.close)

    async def _show(self) -> int:
        await self._or_stopped(self._system.start(self._tell))
        observer = Observer(self._system.kafka, TopicsSettings().events_topic)
        await observer.start()
        try:
            self._tell("cameras: starting" + ("" if self._settings.video else " (drawing their streets)"))
            await asyncio.to_thread(self._system.start_producer)
            seconds = await self._watch(observer)
            summary = await self._finish(observer, seconds)
        finally:
            await observer.close()
        self._console.rule("summary")
        for line in summary.lines():
            self._console.print(line, markup=False, soft_wrap=True)
        self._console.print(f"written to {summary.write(self._paths.output)}", markup=False)
        return 1 if summary.problems() else 0

    async def _or_stopped(self, starting: Coroutine[Any, Any, None]) -> None:
        """Await a start, unless Ctrl-C comes first."""
        start = asyncio.create_task(starting)
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            raise RiverlensError("stopped before it had started")
        stop.cancel()
        await start

    async def _watch(self, observer: Observer) -> float:
        """Show the table until the time is over; returns the seconds since the first event."""
        reading = asyncio.create_task(observer.run())
        waiting_since_s = time.monotonic()
        try:
            with LiveTable(self._console) as table:
                while not self._stop.is_set():
                    await self._look(reading)
                    first_s, now_s = observer.seen.first_s, time.monotonic()
                    if first_s is None and now_s - waiting_since_s > self._settings.events_within_s:
                        raise SetupError(
                            f"no event within {self._settings.events_within_s:.0f} s; "
                            f"see {self._paths.output}/logs"
                        )
                    left_s = self._left_s(first_s, now_s)
                    if left_s is not None and left_s <= 0:
                        break
                    if first_s is not None:
                        table.show(observer.seen, self._metrics, left_s)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        first_s = observer.seen.first_s
        return 0.0 if first_s is None else time.monotonic() - first_s

    async def _look(self, reading: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._stop.wait()
        except TimeoutError:
            pass  # half a second passed: look again
        if reading.done():
            await reading
        failed = self._system.failed_part()
        if failed:
            raise SetupError(failed)
        self._metrics = await read_metrics(self._system.metrics_url) or self._metrics

    def _left_s(self, first_s: float | None, now_s: float) -> float | None:
        if self._settings.seconds == 0:
            return None
        return self._settings.seconds - (0.0 if first_s is None else now_s - first_s)

    async def _finish(self, observer: Observer, seconds: float) -> Summary:
        """Stop the cameras, let the worker catch up for a while, stop it, read the rest, score."""
        self._tell("stopping: cameras, then the worker when it has caught up")
        await asyncio.to_thread(self._system.stop_producer)
        produced = self._produced()
        until_s = time.monotonic() + _CATCH_UP_S
        while observer.seen.count < produced and time.monotonic() < until_s:
            if not await observer.read() and not self._metrics.lag and not self._metrics.in_flight:
                self._metrics = await read_metrics(self._system.metrics_url) or self._metrics
                if self._metrics.consumed >= produced and not self._metrics.in_flight:
                    break
        shown = self._metrics
        await asyncio.to_thread(self._system.stop_worker)
        await observer.read_to_end()
        metrics = final_balance(self._paths.log("worker")) or shown
        first_s = observer.seen.first_s
        summary = Summary(
            produced=produced,
            metrics=metrics,
            seen=observer.seen,
            seconds=seconds,
            first_event_s=None if first_s is None else round(first_s - self._started_s, 1),
            score=self._score(observer),
            pictures=await self._draw(observer),
        )
        if self._model.is_street and self._settings.video is not None:
            summary.hints.append(_STREET_HINT)
        return summary

    def _produced(self) -> int:
        try:
            body = orjson.loads(self._paths.producer_summary.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            raise SetupError(f"the producer left no summary; see {self._paths.log('producer')}") from None
        acknowledged: int = body["total"]["acknowledged"]
        return acknowledged

    def _score(self, observer: Observer) -> Score | None:
        """Only synthetic streets have a truth."""
        if self._settings.video is not None or not self._model.is_street:
            return None
        from riverlens.scenes import truth_of  # noqa: PLC0415  # loads the drawing modules

        known: dict[tuple[str, int], Sequence[SceneObject]] = {}
        score = Score()
        for event in observer.seen.events:
            if event.sequence is None or event.detections is None:
                continue
            scene = (event.camera_id, scene_number(event.sequence))
            if scene not in known:
                known[scene] = truth_of(*scene, *DEFAULT_SIZE)
            score += score_frame(event.detections, known[scene])
        return score

    async def _draw(self, observer: Observer) -> list[Path]:
        paths = []
        for number, event in enumerate(pictures.choose(observer.seen.events, _PICTURES), 1):
            image = await observer.fetch_image(event)
            path = self._paths.output / f"sample-{number}.jpg"
            await asyncio.to_thread(pictures.annotate(image, event).save, path, quality=90)
            paths.append(path)
        return paths

    def _tell(self, line: str) -> None:
        passed_s = time.monotonic() - self._started_s
        self._console.print(f"{passed_s:5.1f} s  {line}", markup=False, soft_wrap=True)
