"""Scenarios as data, and the arrivals that they mean. Pure; `scenarios.toml` holds those of `make bench`."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from benchmarks.cost import Cost
from riverlens.errors import SettingsError

MAX_ROWS = 32
"""Frames in one call, of every stack that batches."""
FILE = Path(__file__).with_name("scenarios.toml")
_REHEARSED_S, _REHEARSED_FRAMES = 3.0, 600

Kind = Literal["saturation", "paced", "start"]
Mode = Literal["jpeg", "pixels"]
Shape = Literal["steady", "bursts"]


class Arrival(NamedTuple):
    """One frame: seconds since the start, and which camera's, from 0."""

    at_s: float
    camera: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure, with every stack that it names.

    Attributes:
        name: in tables and files.
        kind: `saturation` reads a topic filled beforehand, `paced` frames as they come, `start` starts the
            stack `starts` times.
        device: a name of the devices table.
        cost: of that device.
        mode: `jpeg`: images go to the model as they are; `pixels`: decoded on the worker.
        stacks: who is measured.
        seconds: how long frames come, or how long a filled topic is read at most.
        warm_up_s: left out of the figures at the start.
        load: of the ceiling of all devices together, paced only.
        cameras: how many; camera k writes to partition k modulo `partitions`.
        hot: how many times more frames camera 0 sends than each other.
        shape: `bursts`: a camera sends `burst` frames back to back, so many times more seldom.
        burst: frames of a burst.
        frames: how many a filled topic holds.
        backlog: frames of camera 0 that wait already when the stack starts, paced only.
        starts: how often it is started.
        workers: processes of the stack, in one group.
        servers: model servers, each with its own devices.
        devices: of each server.
        merge: whether the server batches by itself in front of its devices.
        slow_at_s: when the devices become `slow_factor` times slower; None: never.
        slow_factor: how much slower.
        partitions: of the topic.
        flags: further flags of `riverlens worker run`.
        in_short: whether `make bench-short` runs it.
        short_seconds: instead of `seconds` there.
        in_full: whether `make bench` runs it; else only by name.
    """

    name: str
    kind: Kind
    device: str
    cost: Cost
    mode: Mode = "jpeg"
    stacks: tuple[str, ...] = ("riverlens", "engineer", "one-by-one")
    seconds: float = 30.0
    warm_up_s: float = 5.0
    load: float = 0.6
    cameras: int = 16
    hot: float = 1.0
    shape: Shape = "steady"
    burst: int = 8
    frames: int = 20_000
    backlog: int = 0
    starts: int = 5
    workers: int = 1
    servers: int = 1
    devices: int = 1
    merge: bool = False
    slow_at_s: float | None = None
    slow_factor: float = 3.0
    partitions: int = 8
    flags: tuple[str, ...] = field(default=())
    in_short: bool = False
    short_seconds: float = 10.0
    in_full: bool = True

    @property
    def ceiling(self) -> float:
        """Frames a second of devices that never wait and get full batches."""
        return self.cost.ceiling(MAX_ROWS, self.servers * self.devices)

    @property
    def rate(self) -> float:
        """Frames a second that come, paced."""
        return self.load * self.ceiling

    @property
    def plain(self) -> bool:
        """Whether nothing but kind, device, mode and load distinguishes it: what stacks are compared by."""
        odd = (
            self.hot != 1,
            self.shape != "steady",
            self.slow_at_s is not None,
            self.backlog,
            self.merge,
            bool(self.flags),
        )
        return not any(odd) and self.workers == self.servers == self.devices == 1

    def partition(self, camera: int) -> int:
        """Where a camera's frames lie."""
        return camera % self.partitions

    def shortened(self) -> Scenario:
        """As `make bench-short` runs it."""
        part = self.short_seconds / self.seconds
        return replace(
            self,
            seconds=self.short_seconds,
            warm_up_s=min(self.warm_up_s, 3.0),
            slow_at_s=None if self.slow_at_s is None else self.slow_at_s * part,
        )

    def rehearsed(self) -> Scenario:
        """A few seconds of it: every part runs, no figure means anything."""
        return replace(
            self,
            seconds=_REHEARSED_S,
            warm_up_s=0.5,
            slow_at_s=None if self.slow_at_s is None else 1.0,
            frames=min(self.frames, _REHEARSED_FRAMES),
            backlog=min(self.backlog, _REHEARSED_FRAMES),
            starts=1,
        )


def arrivals(scenario: Scenario, seed: int = 1) -> list[Arrival]:
    """When each frame of a paced scenario comes, in order of time: the same for every stack.

    Cameras are periodic, at phases of their own, each frame early or late by up to 10 % of the period, as
    real ones are; a quite regular stream would meet the device in one fixed pattern.
    """
    rng = random.Random(seed)  # noqa: S311  # repeatable on purpose
    shares = [scenario.hot if camera == 0 else 1.0 for camera in range(scenario.cameras)]
    burst = scenario.burst if scenario.shape == "bursts" else 1
    found = []
    for camera, share in enumerate(shares):
        period_s = burst * sum(shares) / (share * scenario.rate)
        due_s = rng.random() * period_s
        while due_s < scenario.seconds:
            at_s = due_s + rng.uniform(-0.1, 0.1) * period_s
            found += [Arrival(max(at_s, 0.0), camera)] * burst
            due_s += period_s
    return sorted(found)


def read_scenarios(path: Path = FILE) -> list[Scenario]:
    """All scenarios of a file, a table each; lists of device, mode, load, workers, merge multiply it.

    Raises:
        SettingsError: a name that no scenario has, a device that the file does not tell, a name twice.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    devices = {name: Cost(**costs) for name, costs in tables.get("devices", {}).items()}
    found: list[Scenario] = []
    for name, table in tables.get("scenarios", {}).items():
        found += _expand(name, table, devices)
    twice = {one.name for one in found if sum(one.name == other.name for other in found) > 1}
    if twice:
        raise SettingsError(f"{path.name}: these scenarios are there twice: {', '.join(sorted(twice))}")
    return found


_MULTIPLIES = ("device", "mode", "load", "workers", "merge")
_WORDS = {"load": "{:.0%}", "workers": "{}w", "merge": "{}"}


def _expand(name: str, table: Mapping[str, Any], devices: Mapping[str, Cost]) -> Iterable[Scenario]:
    variants: list[dict[str, Any]] = [dict(table)]
    for key in _MULTIPLIES:
        variants = [
            {**variant, key: value}
            for variant in variants
            for value in (variant[key] if isinstance(variant.get(key), list) else [variant.get(key)])
        ]
    for variant in variants:
        words = [name, *(_word(key, variant[key]) for key in _MULTIPLIES if isinstance(table.get(key), list))]
        given = {key: value for key, value in variant.items() if value is not None}
        yield _scenario("-".join(filter(None, words)), given, devices)


def _word(key: str, value: Any) -> str:
    if key == "merge":
        return "merged" if value else "unmerged"
    return _WORDS.get(key, "{}").format(value).replace("%", "")


def _scenario(name: str, given: Mapping[str, Any], devices: Mapping[str, Cost]) -> Scenario:
    known = {one.name for one in fields(Scenario)} - {"name", "cost"}
    unknown = given.keys() - known
    if unknown:
        raise SettingsError(f"scenario {name}: no such setting: {', '.join(sorted(unknown))}")
    if given.get("device") not in devices:
        raise SettingsError(f"scenario {name}: no such device: {given.get('device')!r}")
    for key, choice in (("kind", Kind), ("mode", Mode), ("shape", Shape)):
        if given.get(key, get_args(choice)[0]) not in get_args(choice):
            raise SettingsError(f"scenario {name}: {key} is one of {', '.join(get_args(choice))}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return Scenario(name=name, cost=devices[given["device"]], **cast("Any", values))


def chosen(scenarios: Sequence[Scenario], only: Sequence[str]) -> list[Scenario]:
    """The scenarios whose name begins with one of these words.

    Raises:
        SettingsError: a word that no name begins with.
    """
    for word in only:
        if not any(scenario.name.startswith(word) for scenario in scenarios):
            names = ", ".join(scenario.name for scenario in scenarios)
            raise SettingsError(f"no scenario begins with {word!r}; there are: {names}")
    return [scenario for scenario in scenarios if scenario.name.startswith(tuple(only))]
