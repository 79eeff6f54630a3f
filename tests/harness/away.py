"""A model server that goes away under load and comes back: what the worker makes of it, in figures."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import Account, settled
from tests.harness.feed import feed
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker

MIB = 1024 * 1024


@dataclass(frozen=True)
class Absence:
    """What came of it: seconds until work went on, growth of memory, the account of all frames."""

    resumed_s: float
    grown_mib: float
    account: Account


async def server_away(
    kafka: KafkaSettings,
    topics: TopicSet,
    worker: Worker,
    server: model_servers.RunningServer,
    *,
    away_s: float,
) -> Absence:
    """Kill a worker's model server under load, start it again `away_s` later, settle all frames."""
    given = server.process.args
    assert isinstance(given, list)
    flags = [str(flag) for flag in given if str(flag).startswith("--model")]
    port = server.address.rpartition(":")[2]

    async def published() -> float:
        return (await worker.balance())["published"]

    async def flowing() -> bool:
        return await published() > 300

    async with feed(kafka, topics.frames, per_s=100) as running:
        await wait_for(flowing, what="events flow")
        size = worker.rss_bytes()
        server.process.kill()
        server.process.wait()

        async def told() -> bool:
            status, why = await worker.get("/readyz")
            return status == 503 and server.address in why

        await wait_for(told, what="/readyz says who is away")
        back = asyncio.Event()
        asyncio.get_running_loop().call_later(away_s, back.set)
        await back.wait()
        before = await published()
        process = model_servers.start(server.log.with_suffix(".again"), *flags, f"--port={port}")
        try:
            await asyncio.to_thread(model_servers.wait_ready, process, server.log.with_suffix(".again"))
            ready_s = time.monotonic()

            async def resumed() -> bool:
                return await published() > before

            await wait_for(resumed, what="work goes on")
            resumed_s = time.monotonic() - ready_s
            grown = (worker.peak_rss_bytes() - size) / MIB
            running.end()
            account = await settled(kafka, topics, running.sent, timeout_s=60)
        finally:
            model_servers.stop(process)
    return Absence(resumed_s, grown, account)
