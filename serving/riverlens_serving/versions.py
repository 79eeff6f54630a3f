"""Which versions of a model should be loaded, and what to do next: decisions only, no files and no threads.

After TensorFlow Serving's file_system_storage_path_source.cc and availability_preserving_policy.cc.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

_INT64_MAX = 2**63 - 1
_NUMBER = re.compile(r"[0-9]+", re.ASCII)


class State(IntEnum):
    """`ModelVersionStatus.State`, with the protocol's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50
    """Unloaded, or failed where the status carries an error. The version stays listed."""


def parse_version(folder_name: str) -> int | None:
    """The version that a child of the base path stands for (`00000123` is 123), None for any other name."""
    if _NUMBER.fullmatch(folder_name) is None:
        return None
    version = int(folder_name)
    return version if version <= _INT64_MAX else None


@dataclass(frozen=True, slots=True)
class Latest:
    """`latest { num_versions: N }`: the N highest. The default, with N = 1."""

    count: int = 1


@dataclass(frozen=True, slots=True)
class All:
    """`all {}`: every version."""


@dataclass(frozen=True, slots=True)
class Specific:
    """`specific { versions: A versions: B }`: these, where they exist."""

    versions: frozenset[int]


Policy = Latest | All | Specific


def aspired(policy: Policy, found: Iterable[int]) -> frozenset[int]:
    """Those of the versions found that should be loaded."""
    match policy:
        case Latest(count):
            return frozenset(sorted(found, reverse=True)[:count])
        case All():
            return frozenset(found)
        case Specific(versions):
            return frozenset(found) & versions


class Phase(Enum):
    """Where a version is in its keeper's hands."""

    LOADING = auto()
    READY = auto()
    UNLOADING = auto()
    FAILED = auto()
    """Every try failed. Not tried again while the folder stays; forgotten once it is gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, each in order."""

    load: tuple[int, ...] = ()
    unload: tuple[int, ...] = ()
    give_up: tuple[int, ...] = ()
    """Loads that nobody wants any more: no further retry."""
    forget: tuple[int, ...] = ()


def plan(wanted: Collection[int], phases: Mapping[int, Phase]) -> Plan:
    """Load what is wanted, highest first; unload the rest, lowest first, once a wanted version is ready.

    So a model that has a ready version keeps one while a newer one loads, and keeps it if that load fails.
    Where nothing is wanted (the base path is empty), everything is unloaded.
    """
    unwanted = sorted(version for version in phases if version not in wanted)
    may_unload = not wanted or any(phases.get(version) is Phase.READY for version in wanted)
    return Plan(
        load=tuple(sorted((version for version in wanted if version not in phases), reverse=True)),
        unload=tuple(v for v in unwanted if may_unload and phases[v] is Phase.READY),
        give_up=tuple(v for v in unwanted if phases[v] is Phase.LOADING),
        forget=tuple(v for v in unwanted if phases[v] is Phase.FAILED),
    )
