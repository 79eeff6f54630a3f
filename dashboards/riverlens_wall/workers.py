"""Asks the workers for their metrics, while somebody watches. Shell."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from itertools import chain

import aiohttp

from riverlens_wall.pipeline import UNTOLD, Lately, lately
from riverlens_wall.readings import Reading, read
from riverlens_wall.settings import EVERY_ADDRESS, as_http

logger = logging.getLogger(__name__)

_EVERY_S = 2.0
_WITHIN_S = 3.0


class Workers:
    """The newest reading, and what changed since the one before.

    Attributes:
        reading, late: None where the workers are not known or do not answer.
        away: why, in words; "" where they answer.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.reading: Reading | None = None
        self.late: Lately | None = None
        self.away = UNTOLD if not urls else "not asked yet"
        self._urls = urls
        self._read_s = 0.0

    async def run(self) -> None:
        """Ask every two seconds until cancelled; without an address there is nobody to ask."""
        if not self._urls:
            await asyncio.Event().wait()
        timeout = aiohttp.ClientTimeout(total=_WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._ask(session)
                await asyncio.sleep(_EVERY_S)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        found = await asyncio.gather(*(_each(url) for url in self._urls))
        texts = await asyncio.gather(*(_get(session, url) for url in chain.from_iterable(found)))
        answers = [text for text in texts if text is not None]
        if not answers:
            self._lose(f"the worker does not answer at {', '.join(self._urls[:3])}")
            return
        try:
            reading = read(answers)
        except ValueError as error:
            self._lose(f"{', '.join(self._urls[:3])}: {str(error)[:200]}")
            return
        now_s = time.monotonic()
        self.late = lately(self.reading, reading, now_s - self._read_s)
        self.reading, self._read_s = reading, now_s
        if self.away:
            logger.info("metrics of %d workers are read", len(answers))
        self.away = ""

    def _lose(self, why: str) -> None:
        if self.away != why:
            logger.warning("%s", why)
        self.reading = self.late = None
        self.away = why


async def _each(url: str) -> list[str]:
    """The URLs to ask: of `dns:///name:port/path` one for each address of the name, of another itself."""
    if not url.startswith(EVERY_ADDRESS):
        return [url]
    name, port = as_http(url).hostname, as_http(url).port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError:  # no such name now: told as every other answer that does not come
        return []
    return urls_of(url, [(family, str(address[0])) for family, _, _, _, address in found])


def urls_of(url: str, addresses: Sequence[tuple[int, str]]) -> list[str]:
    """`dns:///name:port/path` with each address, given by family, in the name's place.

    Of one family alone: where there are both, each worker has an address of either.
    """
    parts = as_http(url)
    family = min((family for family, _ in addresses), default=0)
    hosts = sorted({address for kind, address in addresses if kind == family})
    return [f"http://{f'[{host}]' if ':' in host else host}:{parts.port}{parts.path}" for host in hosts]


async def _get(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url) as reply:
            return await reply.text(errors="replace") if reply.ok else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
