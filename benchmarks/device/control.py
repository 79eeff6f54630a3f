"""The simulator's HTTP side: what its devices did, and how slow they are from now on. Shell.

GET  /stats               {"cpu_s": ..., "servers": [what SimulatedServer.report tells, ...]}
POST /settings {"factor"} how many times slower batches are that begin from now on
POST /forget              count from now
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiohttp import web

from benchmarks.device.server import SimulatedServer


class Control:
    """One HTTP port for all simulated servers of the process."""

    def __init__(self, servers: Sequence[SimulatedServer]) -> None:
        self._servers = servers
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/settings", self._settings)
        app.router.add_post("/forget", self._forget)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _stats(self, _: web.Request) -> web.Response:
        servers = [server.report() for server in self._servers]
        return web.json_response({"cpu_s": time.process_time(), "servers": servers})

    async def _settings(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        for server in self._servers:
            server.change(factor=float(wanted["factor"]))
        return web.json_response({})

    async def _forget(self, _: web.Request) -> web.Response:
        for server in self._servers:
            server.forget()
        return web.json_response({})
