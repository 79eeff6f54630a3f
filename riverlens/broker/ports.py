"""Ports for brokers on the loopback address."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from riverlens.errors import SetupError

LOOPBACK = "127.0.0.1"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_USUAL_FIRST_EPHEMERAL = 32_768
_TRIES = 200


@dataclass(frozen=True, slots=True)
class NodePorts:
    """Ports of one node: `listeners` by listener name, PLAINTEXT always among them, and the controller's."""

    listeners: Mapping[str, int]
    controller: int


def choose_ports(nodes: int, listeners: Sequence[str], first: int | None) -> list[NodePorts]:
    """Ports for `nodes` brokers with these listeners, in their order.

    With `first` the first listener's ports of all nodes begin there, then come the second's, and so on;
    else they are free ones. The controllers' are always free ones.

    Raises:
        SetupError: a port from `first` on is in use.
    """
    wanted = nodes * len(listeners)
    fresh = iter(free_ports(nodes + (0 if first else wanted)))
    numbers: Iterator[int] = count(first) if first else fresh
    by_listener = [[next(numbers) for _ in range(nodes)] for _ in listeners]
    for port in (port for ports in by_listener for port in ports):
        if first and not is_free(port):
            raise SetupError(
                f"port {port} on {LOOPBACK} is in use; stop what uses it or choose another: "
                "riverlens broker --port N"
            )
    return [
        NodePorts(
            {name: ports[node] for name, ports in zip(listeners, by_listener, strict=True)}, next(fresh)
        )
        for node in range(nodes)
    ]


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
