"""Cameras on HTTP: MJPEG streams and snapshots, whose pictures go on byte for byte; all else is FFmpeg's."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from functools import partial
from typing import Any

import aiohttp
from yarl import URL

from riverlens.frame import MAX_FRAME_BYTES
from riverlens_producer.address import Address
from riverlens_producer.cameras import Camera
from riverlens_producer.capture import CaptureClock
from riverlens_producer.failures import Cause, LinkError, of_status
from riverlens_producer.link import Intake, Link, Offer, Shot
from riverlens_producer.multipart import MultipartError, Part, Parts, boundary_of
from riverlens_producer.pictures import re_encode
from riverlens_producer.sources import content_type

_SNAPSHOT_FPS = 1.0
_POLLS_BEFORE_STALL = 3
_PAGES = ("text/", "application/json", "application/xml")
_LIMIT_BYTES = 4 * MAX_FRAME_BYTES
"""Of one picture as it comes; what is sent may be made smaller."""


class HttpLink:
    """Connects by HTTP, and looks at what comes.

    Args:
        camera: how to treat it.
        address: where.
        otherwise: for what is neither a picture nor a stream of pictures.
    """

    def __init__(self, camera: Camera, address: Address, otherwise: Link) -> None:
        self._camera = camera
        self._address = address
        self._otherwise = otherwise
        self._clock = CaptureClock(trusted=camera.clock == "camera")

    async def run(self, intake: Intake) -> None:
        """As Link.run."""
        try:
            if await self._pictures(intake):
                return
        except aiohttp.ClientError as error:
            raise _failure_of(error) from None
        except TimeoutError:
            raise LinkError(Cause.STALLED, "nothing came in time") from None
        except (MultipartError, ssl.SSLError) as error:
            raise LinkError(Cause.UNREADABLE, str(error)) from None
        except OSError as error:
            raise LinkError(Cause.UNREACHABLE, error.strerror or type(error).__name__) from None
        await self._otherwise.run(intake)

    async def _pictures(self, intake: Intake) -> bool:
        """Take pictures until they end; False where something else is there."""
        camera = self._camera
        timeout = aiohttp.ClientTimeout(total=None, connect=camera.connect_s, sock_read=camera.silence_s)
        # Pictures are compressed already; unpacked here, a few bytes could become any number.
        plain: dict[str, Any] = {"auto_decompress": False, "headers": {"Accept-Encoding": "identity"}}
        async with aiohttp.ClientSession(timeout=timeout, **plain, **self._login()) as session:
            async with await self._get(session) as response:
                told = response.content_type.lower()
                if told.startswith("multipart/"):
                    intake.opened(self._offer("MJPEG over HTTP", "jpeg", None))
                    await self._stream(response, intake)
                    return True
                if told.startswith(_PAGES) and "mpegurl" not in told and "dash" not in told:
                    raise LinkError(Cause.UNREADABLE, f"it answers with {told}, no picture")
                if not told.startswith("image/"):
                    return False
                fps = camera.fps or _SNAPSHOT_FPS
                intake.opened(self._offer("snapshots over HTTP", told.removeprefix("image/"), fps))
                intake.stall_s = max(intake.stall_s, _POLLS_BEFORE_STALL / fps)
                first = await _whole(response)
            await self._poll(session, first, 1 / fps, intake)
        return True

    def _offer(self, kind: str, codec: str, fps: float | None) -> Offer:
        return Offer(kind, codec, fps=fps, passes=self._camera.look.as_is)

    def _login(self) -> dict[str, Any]:
        address, camera = self._address, self._camera
        tls: ssl.SSLContext | bool = camera.verify_tls
        if camera.verify_tls and camera.tls_cafile:
            tls = ssl.create_default_context(cafile=str(camera.tls_cafile))
        options: dict[str, Any] = {"connector": aiohttp.TCPConnector(ssl=tls, limit=1)}
        if address.username is not None:
            origin = self._url().origin()
            options["middlewares"] = (_Login(address.username, address.password or "", origin),)
        return options

    def _url(self) -> URL:
        try:
            return URL(self._address.bare, encoded=True)
        except ValueError:
            raise LinkError(Cause.UNREADABLE, "not an address") from None

    async def _get(self, session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        response = await session.get(self._url())
        if response.status >= 400:  # noqa: PLR2004  # HTTP's errors begin here
            response.close()
            raise of_status(response.status)
        return response

    async def _stream(self, response: aiohttp.ClientResponse, intake: Intake) -> None:
        parts = Parts(boundary_of(response.headers.get("Content-Type", "")), _LIMIT_BYTES)
        async for chunk in response.content.iter_any():
            for part in parts.feed(chunk):
                self._picture(part.body, _told_ms(part), intake)

    async def _poll(
        self, session: aiohttp.ClientSession, picture: bytes, period_s: float, intake: Intake
    ) -> None:
        start_s = time.monotonic()
        while True:
            self._picture(picture, None, intake)
            passed_s = time.monotonic() - start_s
            await asyncio.sleep(period_s - passed_s % period_s)
            async with await self._get(session) as response:
                picture = await _whole(response)

    def _picture(self, body: bytes, told_ms: int | None, intake: Intake) -> None:
        kind = content_type(body[:16])
        if kind is None:
            intake.stats.broken += 1
            return
        if not intake.takes(time.monotonic()):
            return
        stats, look = intake.stats, self._camera.look
        captured_at_ms = self._clock.captured_at_ms(told_ms, time.time_ns() // 1_000_000)
        stats.from_camera, stats.clock_off_ms = self._clock.used, self._clock.off_ms
        if look.as_is:
            intake.put(Shot(lambda: body, kind, captured_at_ms))
        else:
            intake.put(Shot(partial(re_encode, body, look), "image/jpeg", captured_at_ms))


class _Login:
    """Logs in the way the camera asks for. A password is never sent in clear to one that wants Digest."""

    def __init__(self, username: str, password: str, origin: URL) -> None:
        self._digest = aiohttp.DigestAuthMiddleware(username, password)
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._basic = f"Basic {login}"
        self._origin = origin
        self._scheme = ""

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Where a camera sends us elsewhere, its password stays at home.
        if request.url.origin() != self._origin:
            return await handler(request)
        if not self._scheme:
            response = await handler(request)
            if response.status != 401:  # noqa: PLR2004  # HTTP: unauthorized
                return response
            asked = " ".join(response.headers.getall("WWW-Authenticate", [])).lower()
            response.close()
            self._scheme = "digest" if "digest" in asked else "basic"
        if self._scheme == "digest":
            return await self._digest(request, handler)
        request.headers["Authorization"] = self._basic
        return await handler(request)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LIMIT_BYTES:
            raise MultipartError(f"a picture is larger than {_LIMIT_BYTES} bytes")
    return bytes(body)


def _told_ms(part: Part) -> int | None:
    """The camera's time of a picture, by the X-Timestamp that several servers send: seconds since 1970."""
    try:
        told_s = float(part.headers.get("x-timestamp", ""))
    except ValueError:
        return None
    return round(told_s * 1000) if 0 < told_s < 1e11 else None  # noqa: PLR2004  # no infinity, no NaN


def _failure_of(error: aiohttp.ClientError) -> LinkError:
    """What a client's error means. Its own text is left out: it may name the address with its query."""
    if isinstance(error, aiohttp.ServerTimeoutError):
        return LinkError(Cause.STALLED, "nothing came in time")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return LinkError(
            Cause.UNREACHABLE, "its certificate is not trusted: set tls_cafile, or verify_tls = false"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or type(error.os_error).__name__
        return LinkError(Cause.UNREACHABLE, f"no connection ({reason})")
    if isinstance(error, aiohttp.InvalidURL):
        return LinkError(Cause.UNREADABLE, "not an address")
    return LinkError(Cause.ENDED, type(error).__name__)
