"""A model server that goes away under load and comes back: what the worker makes of it, in figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import Account, settled
from tests.harness.feed import feed
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker
from tests.model_servers import RunningServer

MIB = 1024 * 1024


@dataclass(frozen=True)
class Absence:
    """What came of it: seconds until work went on, growth of memory, the account of all frames."""

    away_s: float
    resumed_s: float
    grown_mib: float
    account: Account

    def check(self, within_s: float = 2.0) -> None:
        """No dead letter, nothing lost or repeated; on again in time, memory flat. Prints its figures."""
        came = f"on again after {self.resumed_s:.1f} s, {self.grown_mib:.0f} MiB more"
        said = f"away {self.away_s:.0f} s: {came}"
        print(f"\n{said}")  # noqa: T201  # figures
        self.account.check()
        assert not self.account.letters
        assert self.resumed_s < within_s, said
        assert self.grown_mib < 30, said


async def server_away(
    kafka: KafkaSettings,
    topics: TopicSet,
    worker: Worker,
    server: model_servers.RunningServer,
    *,
    away_s: float,
) -> Absence:
    """Kill a worker's model server under load, start it again `away_s` later, settle all frames."""

    async def flowing() -> bool:
        return (await worker.balance())["published"] > 300

    async with feed(kafka, topics.frames, per_s=100) as running:
        await wait_for(flowing, what="events flow")
        size = worker.rss_bytes()
        await kill_for(worker, server, away_s)
        async with started_again(server) as wait_ready:
            resumed_s = await _resumes(worker, wait_ready)
            grown = (worker.peak_rss_bytes() - size) / MIB
            running.end()
            account = await settled(kafka, topics, running.sent, timeout_s=60)
    return Absence(away_s, resumed_s, grown, account)


async def kill_for(worker: Worker, server: model_servers.RunningServer, away_s: float) -> None:
    """Kill the server; the worker says so, and `away_s` pass."""
    server.process.kill()
    server.process.wait()

    async def told() -> bool:
        status, why = await worker.get("/readyz")
        return status == 503 and server.address in why

    await wait_for(told, what="/readyz says who is away")
    back = asyncio.Event()
    asyncio.get_running_loop().call_later(away_s, back.set)
    await back.wait()


@asynccontextmanager
async def started_again(server: model_servers.RunningServer) -> AsyncIterator[Callable[[], RunningServer]]:
    """The same server, started anew on its port; gives what waits until it is ready."""
    given = server.process.args
    assert isinstance(given, list)
    flags = [str(flag) for flag in given if str(flag).startswith("--model")]
    log = server.log.with_suffix(".again")
    process = model_servers.start(log, *flags, f"--port={server.address.rpartition(':')[2]}")
    try:
        yield partial(model_servers.wait_ready, process, log)
    finally:
        model_servers.stop(process)


async def _resumes(worker: Worker, wait_ready: Callable[[], RunningServer]) -> float:
    """Seconds from the server being ready to the first further event."""
    before = (await worker.balance())["published"]
    await asyncio.to_thread(wait_ready)
    ready_s = time.monotonic()

    async def resumed() -> bool:
        return (await worker.balance())["published"] > before

    await wait_for(resumed, what="work goes on")
    return time.monotonic() - ready_s
