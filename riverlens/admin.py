"""The admin port of a role: /metrics, /healthz and /readyz over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from riverlens.errors import SetupError

logger = logging.getLogger(__name__)


class Admin:
    """Answers on the admin port.

    Args:
        registry: what /metrics shows.
        not_ready: says why the role is not ready, or "" where it is: /readyz answers 503 with it, or 200.
    """

    def __init__(self, registry: CollectorRegistry, not_ready: Callable[[], str]) -> None:
        self._registry = registry
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, chosen by the system where `port` is 0.

        Raises:
            SetupError: the port is taken or the address is not this machine's.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SetupError(
                f"cannot listen on {host}:{port} ({error.strerror}); see admin_host and admin_port (0: any)"
            ) from None
        bound: int = self._runner.addresses[0][1]
        logger.info("metrics on http://%s:%d/metrics", host, bound)
        return bound

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        why = self._not_ready()
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)
