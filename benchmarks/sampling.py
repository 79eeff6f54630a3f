"""CPU and memory over time, of a stack and of all else that belongs to the measurement. Shell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from benchmarks.observed import Usage
from benchmarks.processes import usage

_SAMPLE_S = 0.5


@dataclass(slots=True)
class Samples:
    """Usage over time.

    Attributes:
        workers: of the stack's processes.
        others: by name.
    """

    workers: list[Usage] = field(default_factory=list)
    others: dict[str, list[Usage]] = field(default_factory=dict)


@asynccontextmanager
async def sampling(
    stack: Callable[[], Sequence[int]], others: Mapping[str, Sequence[int]]
) -> AsyncIterator[Samples]:
    """Sample while the context is open: `stack` tells its processes, `others` those beside it by name."""
    samples = Samples()

    def sample() -> None:
        mine = usage(stack())
        samples.workers.append(mine)
        for name, pids in others.items():
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
