"""Fetches by HTTPS: one session, no redirects, no encodings, no proxies, no cookies, a size cap."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from riverlens_worker.reference_uri import Location
from riverlens_worker.references.failures import FetchError, TransientFetchError

_OK = 200
_TOO_MANY = 429
_CHUNK_BYTES = 64 * 1024
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "riverlens"}


class Https:
    """One session for all fetches. Make it inside the event loop; close it."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        connector = aiohttp.TCPConnector(
            limit=0,  # the stage bounds what runs at once, by host
            ssl=tls or True,
            resolver=_Resolver(),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),  # the fetcher's own covers every try
        )

    async def get(self, location: Location, limit_bytes: int) -> bytes:
        """The body of one answer with status 200, of at most `limit_bytes`.

        Raises:
            FetchError: another status, a redirect, an encoding, too large, a certificate we do not trust.
            TransientFetchError: the connection failed or broke, or the server is overloaded or fails.
        """
        try:
            # `encoded`: sent exactly as it was checked.
            async with self._session.get(URL(location.url, encoded=True), allow_redirects=False) as reply:
                _check(reply, limit_bytes)
                return await _read(reply, limit_bytes)
        except aiohttp.ClientConnectorCertificateError as error:
            raise FetchError(
                f"its certificate is not trusted ({error.certificate_error}); "
                "reference_ca_file names a private authority"
            ) from None
        except aiohttp.ClientSSLError as error:
            raise FetchError(f"TLS failed: {error}") from None
        except aiohttp.ClientConnectionError as error:
            raise TransientFetchError(f"the connection failed: {error}") from None
        except aiohttp.ClientPayloadError:
            raise TransientFetchError("the connection broke in the middle of the body") from None
        except aiohttp.ClientError as error:
            raise FetchError(f"no proper answer: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the session and its connections."""
        await self._session.close()


def _check(reply: aiohttp.ClientResponse, limit_bytes: int) -> None:
    status = reply.status
    if status >= 500 or status == _TOO_MANY:  # noqa: PLR2004  # the server's own failures
        raise TransientFetchError(f"HTTP status {status}")
    if 300 <= status < 400:  # noqa: PLR2004  # redirects
        raise FetchError(f"HTTP status {status}: redirects are not followed")
    if status != _OK:
        raise FetchError(f"HTTP status {status}")
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise FetchError(f"it comes encoded ({encoding[:20]}), which was not asked for")
    if reply.content_length is not None and reply.content_length > limit_bytes:
        raise FetchError(f"{reply.content_length} bytes; max_frame_bytes is {limit_bytes}")


async def _read(reply: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit_bytes:
            raise FetchError(f"more than {limit_bytes} bytes (max_frame_bytes)")
    return bytes(body)


class _Resolver(AbstractResolver):
    """The system's resolver, less addresses that a name from outside should not lead to.

    A name that leads to this machine itself or to a link-local address (where clouds keep their
    credentials) does so by accident or by attack. Who means it allows `localhost` or the address itself,
    which is not resolved.
    """

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        good = [each for each in found if host == "localhost" or not _is_inward(each["host"])]
        if found and not good:
            raise OSError(None, f"{host} leads to this machine or a link-local address")
        return good

    async def close(self) -> None:
        await self._system.close()


def _is_inward(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return bool(mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified)
