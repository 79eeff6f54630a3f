"""How each stack is started. Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.scenario import MAX_ROWS, Mode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack works: what it reads, writes and asks."""

    bootstrap: str
    frames_topic: str
    events_topic: str
    dlq_topic: str
    group: str
    servers: tuple[str, ...]
    model: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Stack:
    """One of those measured.

    Attributes:
        name: in scenarios and tables.
        text: what it is, for the report.
        command: the whole command line of one process; told the flags of the scenario.
        ready: how it says that it can take frames: its /readyz, or a line in its log.
    """

    name: str
    text: str
    command: Callable[[Place, Sequence[str], int], list[str]]
    ready: Literal["readyz", "log"]


READY_LINE = "ready: partitions assigned"
"""What the comparison stacks print."""


def _riverlens(place: Place, flags: Sequence[str], admin_port: int) -> list[str]:
    settings = {
        "bootstrap-servers": place.bootstrap,
        "frames-topic": place.frames_topic,
        "events-topic": place.events_topic,
        "dlq-topic": place.dlq_topic,
        "group-id": place.group,
        "server": ",".join(place.servers),
        "model": place.model,
        "max-batch-size": MAX_ROWS,
        "admin-port": admin_port,
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "riverlens", "worker", "run", *words, *flags]


def _comparison(module: str) -> Callable[[Place, Sequence[str], int], list[str]]:
    def command(place: Place, _: Sequence[str], __: int) -> list[str]:
        settings = {
            "bootstrap": place.bootstrap,
            "frames-topic": place.frames_topic,
            "events-topic": place.events_topic,
            "group": place.group,
            "servers": ",".join(place.servers),
            "model": place.model,
            "mode": place.mode,
        }
        words = [f"--{name}={value}" for name, value in settings.items()]
        return [sys.executable, "-m", f"benchmarks.stacks.{module}", *words]

    return command


STACKS: Mapping[str, Stack] = {
    stack.name: stack
    for stack in (
        Stack("riverlens", "riverlens worker run, as it comes", _riverlens, "readyz"),
        Stack(
            "engineer",
            "aiokafka, batches of 32, a thread pool, two calls in flight: a good engineer's day",
            _comparison("engineer"),
            "log",
        ),
        Stack("one-by-one", "one image per call, as the tutorials do", _comparison("one_by_one"), "log"),
        Stack(
            "hops", "no model: a frame read is an event at once; what Kafka costs", _comparison("hops"), "log"
        ),
    )
}
