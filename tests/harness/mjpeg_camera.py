"""An HTTP camera in this process: MJPEG and snapshots, with logins, that can be cut off and restored."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import re
import ssl
from typing import Self

import numpy as np
import simplejpeg
from aiohttp import web

from riverlens.broker.ports import free_ports

USER, PASSWORD = "ad min", "p@s:s#1%"
_REALM, _NONCE = "camera", "7e1f"


def picture(number: int) -> bytes:
    """A JPEG of 64x48 that tells its number by its bytes: a comment."""
    jpeg = bytes(simplejpeg.encode_jpeg(np.full((48, 64, 3), number % 256, np.uint8), 90))
    comment = b"frame %08d" % number
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def number_of(jpeg: bytes) -> int:
    """The number of such a picture."""
    match = re.search(rb"frame (\d{8})", jpeg)
    assert match is not None
    return int(match[1])


class MjpegCamera:
    """A camera at `url`. As a context manager it listens; `cut` ends that and `restore` begins it again.

    Paths: /stream, /snapshot, /basic and /digest (streams behind a login), /page (a web page), /odd (a stream
    without lengths whose boundary is told with its dashes).
    """

    def __init__(self, fps: float = 25.0, tls: ssl.SSLContext | None = None) -> None:
        self.fps = fps
        # Free to listen on again after each cut: see free_ports.
        (self.port,) = free_ports(1)
        self._tls = tls
        self.headers: dict[str, str] = {}
        self.awake = asyncio.Event()
        self.awake.set()
        self.requests: list[str] = []
        self._numbers = itertools.count()
        self._runner: web.AppRunner | None = None
        self._open: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Listen, on the port of before."""
        app = web.Application()
        for path, handler in {
            "/stream": self._stream, "/odd": self._odd, "/snapshot": self._snapshot, "/page": self._page,
            "/basic": self._basic, "/digest": self._digest,
        }.items():  # fmt: skip
            app.router.add_get(path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()

    async def cut(self) -> None:
        """End every connection; nobody answers."""
        for transport in self._open:
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        return await self._send(request, "multipart/x-mixed-replace; boundary=frame", lengths=True)

    async def _odd(self, request: web.Request) -> web.StreamResponse:
        return await self._send(request, 'multipart/x-mixed-replace;boundary="--frame"', lengths=False)

    async def _send(self, request: web.Request, kind: str, *, lengths: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        assert request.transport is not None
        self._open.add(request.transport)
        with contextlib.suppress(ConnectionError):
            await self._send_all(response, lengths=lengths)
        return response

    async def _send_all(self, response: web.StreamResponse, *, lengths: bool) -> None:
        while True:
            await self.awake.wait()
            jpeg = picture(next(self._numbers))
            head = {"Content-Type": "image/jpeg", **self.headers}
            if lengths:
                head["Content-Length"] = str(len(jpeg))
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            await response.write(f"--frame\r\n{lines}\r\n".encode() + jpeg + b"\r\n")
            await asyncio.sleep(1 / self.fps)

    async def _snapshot(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        return web.Response(body=picture(next(self._numbers)), content_type="image/jpeg")

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="<html>log in</html>", content_type="text/html")

    async def _basic(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        self.requests.append(given.partition(" ")[0])
        if given != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
            return web.Response(status=401, headers={"WWW-Authenticate": f'Basic realm="{_REALM}"'})
        return await self._stream(request)

    async def _digest(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        self.requests.append(given.partition(" ")[0])
        if not _digest_is_right(given, request.path):
            challenge = f'Digest realm="{_REALM}", nonce="{_NONCE}", qop="auth", algorithm=MD5'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return await self._stream(request)


def _digest_is_right(given: str, path: str) -> bool:
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))
    if fields.get("username") != USER:
        return False
    secret, what = _md5(f"{USER}:{_REALM}:{PASSWORD}"), _md5(f"GET:{path}")
    middle = f"{_NONCE}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
    return str(fields["response"]) == _md5(f"{secret}:{middle}:{what}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324  # RFC 7616 as cameras speak it
