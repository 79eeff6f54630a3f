"""Starts a stack several times: until its first Predict of a frame, and its memory before. Shell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.events import EventReader
from benchmarks.feed import fill
from benchmarks.line import Line, Topics
from benchmarks.processes import usage
from benchmarks.scenario import Scenario
from benchmarks.stacks.commands import Stack

_FRAMES = 400
_WITHIN_S = 30.0
_LOOK_S = 0.02
_CLOCK_S = 0.001
"""The broker's times are whole milliseconds, rounded down."""


async def first_predicts(
    line: Line, scenario: Scenario, stack: Stack, images: Sequence[bytes]
) -> dict[str, Any]:
    """The figures of a `start` scenario: the median of its starts, and each.

    Raises:
        SetupError: a process does not start, or ends by itself.
        TimeoutError: no event within half a minute.
    """
    before = usage([os.getpid()])
    topics = await line.make_topics(scenario.partitions)
    # On an empty topic nothing but the stack itself is in memory.
    async with line.device(scenario) as device, line.workers(stack, scenario, topics, device) as workers:
        await workers.wait_ready()
        rss_mb = usage(workers.pids).rss_bytes / 1e6
    await fill(line.kafka, topics.frames, scenario, images, _FRAMES, cameras=scenario.cameras)
    found = []
    for _ in range(scenario.starts):
        one = await line.make_topics(scenario.partitions, topics.frames)
        found.append(await _first_predict_s(line, scenario, stack, one))
        await line.remove_topics(one.events, one.dlq)
    await line.remove_topics(topics.frames, topics.events, topics.dlq)
    after = usage([os.getpid()])
    foreign_cpu_s = after.machine_cpu_s - before.machine_cpu_s - (after.cpu_s - before.cpu_s)
    return {
        "scenario": scenario.name,
        "stack": stack.name,
        "kind": scenario.kind,
        "device": scenario.device,
        "mode": scenario.mode,
        "load": None,
        "plain": False,
        "latency": {},
        "first_predict_s": median(found),
        "first_predicts_s": found,
        "rss_start_mb": rss_mb,
        "foreign_cores": max(0.0, foreign_cpu_s / (after.at_s - before.at_s)),
    }


async def _first_predict_s(line: Line, scenario: Scenario, stack: Stack, topics: Topics) -> float:
    """From the process's start to when the device begins the first batch of frames."""
    reader = EventReader(line.kafka, topics.events, scenario.partitions)
    async with (
        line.device(scenario) as device,
        reader,
        line.workers(stack, scenario, topics, device) as workers,
        asyncio.timeout(_WITHIN_S),
    ):
        while not await reader.count():
            workers.check()
            await asyncio.sleep(_LOOK_S)
        first_event_s = float((await reader.read()).appended_s[0]) + _CLOCK_S
        batches = [batch for server in (await device.stats())["servers"] for batch in server["batches"]]
    # Calls that only try the model come before: the first event is of the last batch that ended before it.
    begun_s = max(begun_s for begun_s, ended_s, *_ in batches if ended_s <= first_event_s)
    return float(begun_s) - workers.started_s
