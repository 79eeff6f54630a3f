"""The command line of the comparison stacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from benchmarks.scenario import Mode


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a comparison stack is told: see `benchmarks.stacks.commands.Place`."""

    bootstrap: str
    frames_topic: str
    events_topic: str
    group: str
    servers: tuple[str, ...]
    model: str
    mode: Mode

    @property
    def target(self) -> str:
        """All model servers as one gRPC target, to be asked in turn."""
        return "ipv4:" + ",".join(self.servers)


def read_arguments(argv: Sequence[str] | None = None) -> Arguments:
    """Read the flags; ends the process with a usage line where one is missing."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "frames-topic", "events-topic", "group", "servers", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mode", choices=("jpeg", "pixels"), required=True)
    found = parser.parse_args(argv)
    return Arguments(
        bootstrap=found.bootstrap,
        frames_topic=found.frames_topic,
        events_topic=found.events_topic,
        group=found.group,
        servers=tuple(found.servers.split(",")),
        model=found.model,
        mode=cast("Mode", found.mode),
    )
