"""Runs scenarios, a stack after the other, and collects what is seen. Shell."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.budget import limit_s
from benchmarks.decoding import decode_cpu_ms
from benchmarks.events import EventReader
from benchmarks.feed import draw_images, fill, pace
from benchmarks.figures import figures
from benchmarks.line import Device, Line, Topics, Workers, frames_topic
from benchmarks.memory import data_folder
from benchmarks.observed import Run, Sent
from benchmarks.processes import peak_rss_bytes, usage
from benchmarks.sampling import sampling
from benchmarks.scenario import Scenario, arrivals
from benchmarks.stacks.commands import STACKS, Stack
from benchmarks.starts import first_predicts
from benchmarks.verdict import DISTURBED_CORES
from riverlens.errors import RiverlensError
from riverlens.topics import ensure_topics

logger = logging.getLogger(__name__)

_LOOK_S = 0.3
_SETTLED_S = 1.0
_GRACE_S = 20.0
_REPEATED_UP_TO_S = 120.0
"""Longer runs are not repeated: in ten minutes somebody else may work for a while."""
_REPEATS_S = 900.0
"""So long all repetitions may take together: on a machine that is never quiet they help nobody."""

Tell = Callable[[str], None]
Keep = Callable[[Scenario, list[dict[str, Any]]], None]


@dataclass(frozen=True, slots=True)
class Ways:
    """How to run.

    Attributes:
        tell: gets a line at each step.
        repeat: whether a run beside which others worked is done once more.
    """

    tell: Tell
    repeat: bool = True


@dataclass(frozen=True, slots=True)
class _Begun:
    """When all workers of a stack were ready: their memory, and what each had published by then.

    Who joins first has all partitions for a moment.
    """

    ready_s: float
    rss_bytes: int
    published: list[float]


class Bench:
    """One measurement of scenarios on one Kafka. Writer of: filled topics, how long repetitions took.

    Args:
        line: Kafka and what starts beside it.
        ways: how to run.
    """

    def __init__(self, line: Line, ways: Ways) -> None:
        self._line = line
        self._ways = ways
        self._images = draw_images()
        self._filled: dict[tuple[int, int, int], str] = {}
        self._repeats_s = 0.0

    async def measure(self, scenario: Scenario) -> list[dict[str, Any]]:
        """The figures of every stack of a scenario, in its order; of one that broke, {"error": why}."""
        found = []
        for name in scenario.stacks:
            begun_s = time.monotonic()
            try:
                row = await self._quietest(scenario, STACKS[name])
            except Exception as error:
                # Whatever broke one run, the others are worth having; the page says that this one broke.
                logger.exception("%s / %s broke", scenario.name, name)
                self._ways.tell(f"{scenario.name}: {name} broke: {_in_a_line(error)}")
                row = {"scenario": scenario.name, "stack": name, "error": _in_a_line(error)}
            found.append({**row, "took_s": round(time.monotonic() - begun_s, 1)})
        return found

    async def _quietest(self, scenario: Scenario, stack: Stack) -> dict[str, Any]:
        """The figures; beside others' work it is done once again, and the quieter run counts."""
        self._ways.tell(f"{scenario.name}: {stack.name}")
        row = await self._within_limit(scenario, stack)
        first: float = row["foreign_cores"]
        again = self._ways.repeat and scenario.seconds <= _REPEATED_UP_TO_S and self._repeats_s < _REPEATS_S
        if first <= DISTURBED_CORES or not again:
            return row
        self._ways.tell(f"{scenario.name}: {stack.name} again; others used {first:.2f} cores")
        begun_s = time.monotonic()
        second = await self._within_limit(scenario, stack)
        self._repeats_s += time.monotonic() - begun_s
        quieter = min(row, second, key=lambda one: float(one["foreign_cores"]))
        return {**quieter, "foreign_cores_of_runs": [first, second["foreign_cores"]]}

    async def _within_limit(self, scenario: Scenario, stack: Stack) -> dict[str, Any]:
        """One run's figures; one that is stuck must not keep all that come after it from being measured."""
        limit = limit_s(scenario, stack.name)
        try:
            async with asyncio.timeout(limit) as within:
                return await self._figures(scenario, stack)
        except TimeoutError:
            if not within.expired():
                raise
            raise RiverlensError(f"not over after {limit:.0f} s, and left off") from None

    async def _figures(self, scenario: Scenario, stack: Stack) -> dict[str, Any]:
        if scenario.kind == "start":
            return await first_predicts(self._line, scenario, stack, self._images)
        decode_ms = None
        if scenario.kind == "saturation":
            filled: str | None = await self._fill(scenario)
            if scenario.mode == "pixels":
                decode_ms = await asyncio.to_thread(decode_cpu_ms, self._images)
        else:
            filled = None
        topics = await self._line.make_topics(scenario.partitions, filled)
        if scenario.backlog:
            await fill(self._line.kafka, topics.frames, scenario, self._images, scenario.backlog, cameras=1)
        try:
            return figures(await self._one(scenario, stack, topics, decode_ms))
        finally:
            await self._line.remove_topics(topics.events, topics.dlq, *([] if filled else [topics.frames]))

    async def _fill(self, scenario: Scenario) -> str:
        """A topic that holds the scenario's frames; one of the same form is used again."""
        form = (scenario.frames, scenario.partitions, scenario.cameras)
        if form not in self._filled:
            name = f"filled-{scenario.frames}-{scenario.partitions}-{scenario.cameras}"
            self._ways.tell(f"filling a topic with {scenario.frames} frames")
            await ensure_topics(self._line.kafka, [frames_topic(name, scenario.partitions)])
            await fill(
                self._line.kafka, name, scenario, self._images, scenario.frames, cameras=scenario.cameras
            )
            self._filled[form] = name
        return self._filled[form]

    async def _one(self, scenario: Scenario, stack: Stack, topics: Topics, decode_ms: float | None) -> Run:
        reader = EventReader(self._line.kafka, topics.events, scenario.partitions)
        async with (
            self._line.device(scenario) as device,
            self._line.workers(stack, scenario, topics, device) as workers,
            reader,
        ):
            begun = await _begin(workers)
            if scenario.kind == "paced":
                await device.forget()
            parts = {"kafka": [self._line.broker_pid], "device": [device.process.pid or 0]}
            async with sampling(lambda: workers.pids, parts) as samples:
                sent, changed_s = await self._feed(scenario, topics, device, workers)
                expected = scenario.frames if sent is None else len(sent.at_s) + scenario.backlog
                await self._until_done(scenario, reader, workers, expected)
            stats = await device.stats()
            told = await workers.told()
            peak = peak_rss_bytes(workers.pids)
            seen = await reader.read()
        return Run(
            scenario=scenario,
            stack=stack.name,
            sent=sent,
            seen=seen,
            expected=expected,
            usage=samples.workers,
            others=samples.others,
            device=stats["servers"],
            started_s=workers.started_s,
            ready_s=begun.ready_s,
            rss_start_bytes=begun.rss_bytes,
            rss_peak_bytes=peak,
            changed_s=changed_s,
            published=[now - then for now, then in zip(told.published, begun.published, strict=True)],
            stages_ms=told.stages_ms,
            decode_cpu_ms=decode_ms,
        )

    async def _feed(
        self, scenario: Scenario, topics: Topics, device: Device, workers: Workers
    ) -> tuple[Sent | None, float | None]:
        """What was sent, if anything, and when the devices became slower, if they did."""
        if scenario.kind != "paced":
            return None, None
        plan = arrivals(scenario)
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(pace(self._line.kafka, topics.frames, scenario, plan, self._images))
            changed_s = None
            if scenario.slow_at_s is not None:
                await asyncio.sleep(scenario.slow_at_s)
                await device.slow_down(scenario.slow_factor)
                changed_s = time.time()
            sent = await feeding
        workers.check()
        return sent, changed_s

    async def _until_done(
        self, scenario: Scenario, reader: EventReader, workers: Workers, expected: int
    ) -> None:
        """Until all events are there and no more come, or the time is up."""
        limit_s = scenario.seconds if scenario.kind == "saturation" else _GRACE_S
        until_s = time.monotonic() + limit_s
        count, since_s = 0, time.monotonic()
        while time.monotonic() < until_s:
            workers.check()
            now = await reader.count()
            if now != count:
                count, since_s = now, time.monotonic()
            if count >= expected and time.monotonic() - since_s > _SETTLED_S:
                return
            await asyncio.sleep(_LOOK_S)


async def _begin(workers: Workers) -> _Begun:
    await workers.wait_ready()
    ready_s, rss_bytes = time.time(), usage(workers.pids).rss_bytes
    return _Begun(ready_s, rss_bytes, (await workers.told()).published)


def _in_a_line(error: Exception) -> str:
    """What happened first, without the log that it may carry."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def run_scenarios(scenarios: Sequence[Scenario], folder: Path, ways: Ways, keep: Keep) -> None:
    """Measure all; `keep` gets the figures of each scenario as soon as they are there."""
    async with Line(folder) as line:
        bench = Bench(line, ways)
        for scenario in scenarios:
            keep(scenario, await bench.measure(scenario))


def prepare_environment(root: Path) -> None:
    """Children find this package, which lies in `root`, and no settings of ours; Kafka writes to memory."""
    for name in [name for name in os.environ if name.startswith("RIVERLENS_")]:
        del os.environ[name]
    if (folder := data_folder()) is not None:
        os.environ["TMPDIR"] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
