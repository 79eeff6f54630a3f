"""Runs scenarios, a stack after the other, and collects what is seen. Shell."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.events import EventReader
from benchmarks.feed import draw_images, fill, pace
from benchmarks.figures import figures
from benchmarks.line import Device, Line, Topics, Workers, frames_topic
from benchmarks.observed import Run, Sent, Usage
from benchmarks.processes import peak_rss_bytes, usage
from benchmarks.scenario import Scenario, arrivals
from benchmarks.stacks.commands import STACKS, Stack
from riverlens.topics import ensure_topics

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_S = 0.2
_LOOK_S = 0.3
_SETTLED_S = 1.0
_GRACE_S = 20.0

Tell = Callable[[str], None]


def prepare_environment() -> None:
    """Children find this package, and no settings of ours."""
    for name in [name for name in os.environ if name.startswith("RIVERLENS_")]:
        del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@dataclass(slots=True)
class _Samples:
    """Usage over time."""

    workers: list[Usage] = field(default_factory=list)
    others: dict[str, list[Usage]] = field(default_factory=dict)


class Bench:
    """One measurement of scenarios on one Kafka. Writer of: filled topics.

    Args:
        line: Kafka and what starts beside it.
        tell: gets a line at each step.
    """

    def __init__(self, line: Line, tell: Tell) -> None:
        self._line = line
        self._tell = tell
        self._images = draw_images()
        self._filled: dict[tuple[int, int, int], str] = {}

    async def measure(self, scenario: Scenario) -> list[dict[str, Any]]:
        """The figures of every stack of a scenario, in its order.

        Raises:
            SetupError: a process does not start, or ends by itself.
        """
        filled = await self._fill(scenario) if scenario.kind == "saturation" else None
        found = []
        for name in scenario.stacks:
            self._tell(f"{scenario.name}: {name}")
            load = os.getloadavg()[0]
            topics = await self._line.make_topics(scenario.partitions, filled)
            run = await self._one(scenario, STACKS[name], topics)
            await self._line.remove_topics(topics.events, topics.dlq, *([] if filled else [topics.frames]))
            found.append({**figures(run), "load_average_before": load})
        return found

    async def _fill(self, scenario: Scenario) -> str:
        """A topic that holds the scenario's frames; one of the same form is used again."""
        form = (scenario.frames, scenario.partitions, scenario.cameras)
        if form not in self._filled:
            name = f"filled-{scenario.frames}-{scenario.partitions}-{scenario.cameras}"
            self._tell(f"filling a topic with {scenario.frames} frames")
            await ensure_topics(self._line.kafka, [frames_topic(name, scenario.partitions)])
            await fill(self._line.kafka, name, scenario, self._images)
            self._filled[form] = name
        return self._filled[form]

    async def _one(self, scenario: Scenario, stack: Stack, topics: Topics) -> Run:
        reader = EventReader(self._line.kafka, topics.events, scenario.partitions)
        async with (
            self._line.device(scenario) as device,
            self._line.workers(stack, scenario, topics, device) as workers,
            reader,
        ):
            await workers.wait_ready()
            ready_s = time.time()
            rss_start = usage(workers.pids).rss_bytes
            if scenario.kind == "paced":
                await device.forget()
            async with self._sampling(workers, device) as samples:
                if scenario.kind == "paced":
                    sent, changed_s = await self._paced(scenario, topics, device, workers)
                else:
                    sent, changed_s = None, None
                expected = scenario.frames if sent is None else len(sent.at_s)
                await self._until_done(scenario, reader, workers, expected)
            stats = await device.stats()
            published = await workers.published() if scenario.workers > 1 else []
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
            ready_s=ready_s,
            rss_start_bytes=rss_start,
            rss_peak_bytes=peak,
            changed_s=changed_s,
            published=published,
        )

    async def _paced(
        self, scenario: Scenario, topics: Topics, device: Device, workers: Workers
    ) -> tuple[Sent, float | None]:
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

    @asynccontextmanager
    async def _sampling(self, workers: Workers, device: Device) -> AsyncIterator[_Samples]:
        samples = _Samples()
        parts = {"kafka": [self._line.broker_pid], "device": [device.process.pid or 0]}

        def sample() -> None:
            mine = usage(workers.pids)
            samples.workers.append(mine)
            for name, pids in parts.items():
                samples.others.setdefault(name, []).append(usage(pids))
            # The feed is this process itself; its children are counted on their own.
            feed = replace(mine, cpu_s=time.process_time(), rss_bytes=0)
            samples.others.setdefault("feed", []).append(feed)

        async def keep_sampling() -> None:
            while True:
                sample()
                await asyncio.sleep(_SAMPLE_S)

        task = asyncio.create_task(keep_sampling())
        try:
            yield samples
        finally:
            task.cancel()
            await asyncio.wait([task])
            sample()


async def run_scenarios(
    scenarios: Sequence[Scenario], folder: Path, tell: Tell, keep: Callable[[list[dict[str, Any]]], None]
) -> None:
    """Measure all; `keep` gets the figures of each scenario as soon as they are there."""
    async with Line(folder) as line:
        bench = Bench(line, tell)
        for scenario in scenarios:
            keep(await bench.measure(scenario))


def machine() -> dict[str, Any]:
    """What figures were taken on."""
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 1e6, 1),
        "python": sys.version.split()[0],
        "processor": _processor(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
