"""What each Kafka is told: `server.properties`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from riverlens.broker.ports import LOOPBACK, NodePorts
from riverlens.frame import MAX_FRAME_BYTES

MAX_MESSAGE_BYTES = 2 * MAX_FRAME_BYTES
"""Limit of topics that set none: room for a frame of 8 MiB with any headers, and for its dead letter."""
COORDINATOR_PARTITIONS = 5
"""Of `__consumer_offsets` and `__transaction_state`: Kafka's 50 each take a new broker 2 s to make."""
PLAIN_LISTENER = "PLAINTEXT"
_CONTROLLER_LISTENER = "CONTROLLER"
_FIXED = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": str(MAX_MESSAGE_BYTES),
    # A killed broker's partitions have no leader until its session ends; 9 s suit real networks.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Nor may the others wait 30 s for an answer of a controller that is stopped by SIGSTOP.
    "controller.socket.timeout.ms": "3000",
    "request.timeout.ms": "5000",
    "replica.socket.timeout.ms": "3000",
    "log.retention.check.interval.ms": "30000",
}


def server_properties(
    node: int,
    ports: Sequence[NodePorts],
    log_dir: Path,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The properties of node `node` (from 1) of a cluster of `len(ports)` combined brokers and controllers.

    Three nodes: replication 3, min.insync.replicas 2, for topics and both coordinators' topics. `extra`
    wins over everything here.
    """
    own = ports[node - 1]
    copies = len(ports)
    in_sync = "2" if copies > 1 else "1"
    names = (*own.listeners, _CONTROLLER_LISTENER)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": ",".join(
            f"{number}@{LOOPBACK}:{each.controller}" for number, each in enumerate(ports, 1)
        ),
        "listeners": ",".join(
            f"{name}://{LOOPBACK}:{port}"
            for name, port in (*own.listeners.items(), (_CONTROLLER_LISTENER, own.controller))
        ),
        "listener.security.protocol.map": ",".join(f"{name}:{_protocol(name)}" for name in names),
        "controller.listener.names": _CONTROLLER_LISTENER,
        "inter.broker.listener.name": PLAIN_LISTENER,
        "log.dirs": str(log_dir),
        "default.replication.factor": str(copies),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": str(copies),
        "offsets.topic.num.partitions": str(COORDINATOR_PARTITIONS),
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": str(COORDINATOR_PARTITIONS),
        **_FIXED,
        **(extra or {}),
    }


def _protocol(listener: str) -> str:
    return PLAIN_LISTENER if listener == _CONTROLLER_LISTENER else listener


def to_text(properties: Mapping[str, str]) -> str:
    """A Java properties file; backslashes doubled, because they escape there."""
    return "".join(
        f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in sorted(properties.items())
    )
