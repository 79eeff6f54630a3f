"""The wall asks workers for their figures: one address, or every address of a name."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from riverlens_wall.workers import Workers, urls_of
from tests.harness.waiting import wait_for

URL = "dns:///workers:9100/metrics"


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(text="riverlens_state 1\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/metrics", "dns:///localhost:{port}/metrics"])
async def test_figures_come_by_address_and_by_name(url: str) -> None:
    """A worker behind a name is counted once, as one that is told by its address."""
    app = web.Application()
    app.router.add_get("/metrics", _metrics)
    async with TestServer(app, host="127.0.0.1") as server:
        workers = Workers([url.format(port=server.port)])
        running = asyncio.create_task(workers.run())
        try:

            async def states() -> list[str]:
                return workers.reading.states if workers.reading else []

            assert await wait_for(states, what="figures") == ["running"]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_name_without_address_is_told() -> None:
    """Before the first worker there is none: the page says where it asks."""
    workers = Workers(["dns:///workers.invalid:9100/metrics"])
    running = asyncio.create_task(workers.run())
    try:

        async def told() -> bool:
            return "workers.invalid" in workers.away

        await wait_for(told, what="the word that no worker answers")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("addresses", "urls"),
    [
        ([], []),
        ([(socket.AF_INET, "10.0.0.2"), (socket.AF_INET, "10.0.0.1")], ["10.0.0.1", "10.0.0.2"]),
        ([(socket.AF_INET, "10.0.0.1"), (socket.AF_INET, "10.0.0.1")], ["10.0.0.1"]),
        ([(socket.AF_INET6, "fd00::1"), (socket.AF_INET, "10.0.0.1")], ["10.0.0.1"]),
        ([(socket.AF_INET6, "fd00::1")], ["[fd00::1]"]),
    ],
)
def test_each_worker_is_asked_once(addresses: list[tuple[int, str]], urls: list[str]) -> None:
    """One URL for each address, of one family alone: a worker with both would count twice."""
    assert urls_of(URL, addresses) == [f"http://{host}:9100/metrics" for host in urls]
