"""Names of model servers to addresses: one for each server, several for `dns:///`."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from riverlens_worker.servers import Server

logger = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Name and port to addresses `1.2.3.4` or `::1`; raises OSError."""


async def system_addresses(name: str, port: int) -> list[str]:
    """The addresses that this machine's resolver knows of a name.

    Raises:
        OSError: none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """The addresses of all servers; what cannot be looked up now keeps the addresses that it had."""

    def __init__(self, servers: Sequence[Server], resolve: Resolve) -> None:
        self._servers = servers
        self._resolve = resolve
        self._known: dict[Server, list[str]] = {}
        self.why = ""
        """Why a name has no address, in words; "" where all have."""

    @property
    def looks_up(self) -> bool:
        """Whether there is any name of which every address counts."""
        return any(server.every_address for server in self._servers)

    def known(self) -> dict[str, str]:
        """Addresses as host:port by the name that their certificate says; "" for their own."""
        found: dict[str, str] = {}
        for server in self._servers:
            if not server.every_address:
                found[server.address] = ""
            for address in self._known.get(server, ()):
                found[address] = server.host
        return found

    async def addresses(self) -> dict[str, str]:
        """The same, after looking up all names again."""
        self.why = ""
        for server in self._servers:
            if not server.every_address:
                continue
            try:
                found = await self._resolve(server.host, server.port)
            except OSError as error:
                self.why = f"{server.host} has no address ({error.strerror}); see the setting server"
                logger.warning("%s", self.why)
                continue
            hosts = [f"[{host}]" if ":" in host else host for host in found]
            self._known[server] = [f"{host}:{server.port}" for host in dict.fromkeys(hosts)]
        return self.known()
