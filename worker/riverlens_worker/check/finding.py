"""One line of the check: what was looked at, what was found, what mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only BAD makes the check fail."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


_INDENT = "  "
_ARROW = "-> "


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict on one thing.

    Attributes:
        what: what was looked at, a few words.
        found: what was found.
        remedy: a setting, or a command to be pasted; "" where nothing is to be done.
    """

    level: Level
    what: str
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For machines."""
        return {"level": self.level, "what": self.what, "found": self.found, "remedy": self.remedy}


def good(what: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.GOOD, what, found)


def warning(what: str, found: str, remedy: str) -> Finding:
    """The worker runs, but not as a person would want."""
    return Finding(Level.WARNING, what, found, remedy)


def bad(what: str, found: str, remedy: str) -> Finding:
    """The worker does not run, or loses something."""
    return Finding(Level.BAD, what, found, remedy)


def count(level: Level, findings: Iterable[Finding]) -> int:
    """How many are of this level."""
    return sum(finding.level is level for finding in findings)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing is bad, else 1."""
    return 1 if count(Level.BAD, findings) else 0


def to_lines(findings: Sequence[Finding]) -> list[str]:
    """Plain lines: the word, what, found in columns; the remedy below; the sum last."""
    words = max((len(finding.level) for finding in findings), default=0)
    widest = max((len(finding.what) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<{words}}{_INDENT}{finding.what:<{widest}}{_INDENT}{finding.found}")
        if finding.remedy:
            lines.append(f"{'':<{words + widest + 2 * len(_INDENT)}}{_ARROW}{finding.remedy}")
    return [*lines, summary(findings)]


def summary(findings: Sequence[Finding]) -> str:
    """How many of each level, in one line."""
    return ", ".join(f"{count(level, findings)} {level}" for level in Level)
