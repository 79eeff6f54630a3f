"""Topics as they should be, and how those that exist differ. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import AfterValidator

REPLICATION = 3
"""Copies of each topic where the cluster has that many brokers."""
MAX_BYTES = "max.message.bytes"
IN_SYNC = "min.insync.replicas"

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def _legal(name: str) -> str:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ValueError("no name of a topic: Kafka takes 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return name


TopicName = Annotated[str, AfterValidator(_legal)]
"""The name of a topic, as a setting: what Kafka itself would refuse is refused beforehand."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be.

    Attributes:
        name: the topic.
        partitions: how many.
        configs: topic configuration of Kafka; what is not named is left to the brokers.
        replication: copies; None means 3 where there are three brokers, else 1.
    """

    name: str
    partitions: int
    configs: Mapping[str, str] = field(default_factory=dict)
    replication: int | None = None


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What came of one topic. `differences`: a line for each way it differs from its spec, with remedy."""

    name: str
    created: bool
    partitions: int
    replication: int
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as it is."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


def with_replication(spec: TopicSpec, brokers: int) -> TopicSpec:
    """Decide the copies on a cluster of `brokers`; of three copies two must always be in sync."""
    copies = spec.replication or (REPLICATION if brokers >= REPLICATION else 1)
    configs = dict(spec.configs)
    if copies >= REPLICATION:
        configs.setdefault(IN_SYNC, "2")
    return replace(spec, configs=configs, replication=copies)


def differences(spec: TopicSpec, found: ExistingTopic, bootstrap_servers: str) -> list[str]:
    """How an existing topic differs from its spec, a line each, with the command that mends it."""
    topics = f"kafka-topics.sh --bootstrap-server {bootstrap_servers} --alter --topic {spec.name}"
    configs = (
        f"kafka-configs.sh --bootstrap-server {bootstrap_servers} --alter --entity-type topics "
        f"--entity-name {spec.name} --add-config"
    )
    lines = []
    if found.partitions < spec.partitions:
        lines.append(
            f"{spec.name} has {found.partitions} partitions, {spec.partitions} asked for: {topics} "
            f"--partitions {spec.partitions} (cameras move between partitions), or set --partitions"
        )
    elif found.partitions > spec.partitions:
        lines.append(
            f"{spec.name} has {found.partitions} partitions, {spec.partitions} asked for: Kafka cannot take "
            f"partitions away; set --partitions {found.partitions}, so that all three topics have as many"
        )
    if spec.replication is not None and found.replication < spec.replication:
        lines.append(
            f"{spec.name} has {found.replication} copies, {spec.replication} asked for: "
            "kafka-reassign-partitions.sh changes that, or set --replication"
        )
    wrong = {
        name: wanted
        for name, wanted in spec.configs.items()
        if name in found.configs and not _suffices(name, found.configs[name], wanted)
    }
    if wrong:
        is_set = ", ".join(f"{name}={found.configs[name]}" for name in wrong)
        asked = ",".join(f"{name}={wanted}" for name, wanted in wrong.items())
        lines.append(f"{spec.name} has {is_set}; asked for: {configs} {asked}")
    return lines


def _suffices(name: str, is_set: str, wanted: str) -> bool:
    return int(is_set) >= int(wanted) if name == MAX_BYTES else is_set == wanted
