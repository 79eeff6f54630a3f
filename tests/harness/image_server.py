"""An HTTPS server that serves an image well, and in every bad way that a client must survive."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from aiohttp import web

_BLOCK = bytes(64 * 1024)
_DRIP_S = 0.01


@dataclass(slots=True)
class ImageServer:
    """A running server; the first word of a path says how it answers.

    Attributes:
        image: what it serves.
        ca_file: PEM file of the authority that signed its certificate.
        origin: https://localhost:PORT.
        asked: raw paths that were asked for, in order.
        headers: of each request.
        release: set by the test, lets requests to /stuck go on.
        most_at_once: the most requests it ever served at one time.
    """

    image: bytes
    ca_file: Path
    origin: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    _at_once: int = 0
    _failures_left: dict[str, int] = field(default_factory=dict)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        self.asked.append(request.raw_path)
        self.headers.append(dict(request.headers))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._answer(request)
        finally:
            self._at_once -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        kind, _, rest = request.path.strip("/").partition("/")
        if kind == "status":
            return web.Response(status=int(rest), body=self.image)
        if kind == "redirect":
            return web.Response(status=302, headers={"Location": rest or "/ok"})
        if kind == "flaky":
            left = self._failures_left.setdefault(rest, int(rest))
            self._failures_left[rest] = left - 1
            return web.Response(status=503) if left > 0 else web.Response(body=self.image)
        if kind == "gzip":
            return web.Response(body=gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})
        if kind in {"endless", "drip", "short", "long"}:
            return await self._stream(request, kind)
        if kind == "stuck":
            await self.release.wait()
        return web.Response(body=self.image)

    async def _stream(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:
        reply = web.StreamResponse()
        if kind in {"short", "long"}:
            reply.content_length = len(self.image) + 1000 if kind == "short" else 10**12
        with contextlib.suppress(ConnectionError):
            await reply.prepare(request)
            if kind == "short":
                await reply.write(self.image)
                assert request.transport is not None
                request.transport.close()
            # A write to a closed connection may raise nothing and never wait: it would starve the test.
            while kind in {"endless", "long"} and _open(request):
                await reply.write(_BLOCK)
                await asyncio.sleep(0)
            while kind == "drip" and _open(request):
                await reply.write(b"\xff")
                await asyncio.sleep(_DRIP_S)
        return reply


def _open(request: web.BaseRequest) -> bool:
    return request.transport is not None and not request.transport.is_closing()


@asynccontextmanager
async def image_server(folder: Path, image: bytes) -> AsyncIterator[ImageServer]:
    """A server on loopback with a certificate for `localhost`; its files lie in `folder`."""
    authority = trustme.CA()
    ca_file = folder / "authority.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = ImageServer(image, ca_file)
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.origin = f"https://localhost:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.release.set()
        await runner.cleanup()
