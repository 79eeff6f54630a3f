"""Ports for brokers on the loopback address."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

from riverlens.errors import SetupError

LOOPBACK = "127.0.0.1"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_USUAL_FIRST_EPHEMERAL = 32_768
_TRIES = 200


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on.

    They lie below the range that the kernel gives to outgoing connections: a client that keeps trying a
    stopped broker's port out of that range can connect to itself, and the broker never gets it back.
    Another process may still take one before the broker does: start again with others then.

    Raises:
        SetupError: no free port after many tries.
    """
    end = max(_first_ephemeral(), _LOWEST + 1000)
    ports: list[int] = []
    with ExitStack() as held:
        for _ in range(_TRIES):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, random.randrange(_LOWEST, end)))  # noqa: S311  # no secret
            except OSError:
                continue
            ports.append(probe.getsockname()[1])
            if len(ports) == count:
                return ports
    raise SetupError(f"no free port between {_LOWEST} and {end} on {LOOPBACK} after {_TRIES} tries")


def is_free(port: int) -> bool:
    """Whether a broker could listen on `port` of the loopback address now."""
    with socket.socket() as probe:
        # As Java does it: connections of a broker stopped a moment ago are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):  # not Linux
        return _USUAL_FIRST_EPHEMERAL
