"""A target and whether it is met, and how figures are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]
State = Literal["met", "MISSED", "not measured"]

OURS, ENGINEER, ONE_BY_ONE, HOPS = "riverlens", "engineer", "one-by-one", "hops"


@dataclass(frozen=True, slots=True)
class Check:
    """One target: what, what was measured, and what it must not pass.

    Attributes:
        key: under which `reasons.toml` says why it is missed.
        what: for the page.
        value: None where nobody measured it.
        bound: None where it depends on what nobody measured.
        most: whether the bound is an upper one.
    """

    key: str
    what: str
    value: float | None
    bound: float | None
    most: bool = True

    @property
    def state(self) -> State:
        """Whether the target is reached."""
        if self.value is None or self.bound is None:
            return "not measured"
        met = self.value <= self.bound if self.most else self.value >= self.bound
        return "met" if met else "MISSED"


class Rows:
    """Figures, to be found by what they are of."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def find(self, stack: str, **wanted: Any) -> Row | None:
        """The first row of a stack with these figures; None where nobody measured it."""
        for row in self._rows:
            if row["stack"] == stack and all(row.get(key) == value for key, value in wanted.items()):
                return row
        return None

    def plain(self, stack: str, **wanted: Any) -> Row | None:
        """The same, of scenarios without anything special."""
        return self.find(stack, plain=True, **wanted)

    def saturation(self, stack: str, device: str, mode: str = "jpeg") -> Row | None:
        """A filled topic, read by one worker."""
        return self.plain(stack, kind="saturation", device=device, mode=mode)

    def paced(self, stack: str, device: str, load: float = 0.6) -> Row | None:
        """Frames as they come, passed through, one worker."""
        return self.plain(stack, kind="paced", device=device, mode="jpeg", load=load)


def figure(row: Row | None, key: str) -> float | None:
    """A figure of a row; None where there is no row, or no such figure in it."""
    found = None if row is None else row.get(key)
    return None if found is None else float(found)


def latency(row: Row | None, key: str, group: str = "all") -> float | None:
    """A figure of the latency of a group of a row's frames; None where there is none."""
    return None if row is None else figure(row["latency"].get(group), key)


def ratio(value: float | None, of: float | None) -> float | None:
    """One over the other; None where either is missing."""
    return value / of if value is not None and of else None


def times(value: float | None, factor: float, plus: float = 0.0) -> float | None:
    """So many times the value, and something more; None stays None."""
    return None if value is None else value * factor + plus
