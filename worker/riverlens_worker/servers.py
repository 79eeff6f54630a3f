"""The setting `server`: which model servers there are. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DNS = "dns:///"
_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s,:/\[\]]+):(?P<port>\d{1,5})")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Server:
    """One entry of the setting: a server, or a name that stands for one server at each of its addresses.

    Attributes:
        host: name or address; an IPv6 address has its brackets.
        every_address: `dns:///`: each address that the name has is a server of its own.
    """

    host: str
    port: int
    every_address: bool = False

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"


def parse_servers(text: str) -> tuple[Server, ...]:
    """Read a list like `a:8500,b:8500` or `dns:///models.prod:8500`, entries separated by commas.

    Raises:
        ValueError: an entry is no address, or comes twice.
    """
    found: list[Server] = []
    for part in text.split(","):
        entry = part.strip()
        if entry.startswith(("http://", "https://")):
            raise ValueError(
                f"server ({entry}) is a gRPC address, host:port without http://; often port 8500"
            )
        server = _parse(entry)
        if server in found:
            raise ValueError(f"server names {entry} twice")
        found.append(server)
    return tuple(found)


def _parse(entry: str) -> Server:
    match = _ENTRY.fullmatch(entry.removeprefix(_DNS))
    if match is None or not 0 < int(match["port"]) <= _MAX_PORT:
        raise ValueError(
            f"server ({entry!r}) must be host:port, several of them separated by commas, "
            "or dns:///name:port for every address of a name"
        )
    return Server(match["host"], int(match["port"]), every_address=entry.startswith(_DNS))
