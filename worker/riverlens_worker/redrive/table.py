"""What goes back and what stays, counted for a person. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from riverlens.times import to_rfc3339
from riverlens_worker.redrive.letter import Letter
from riverlens_worker.redrive.selection import Fate

_MOST_ROWS = 40
_HEAD = ("reason", "camera", "frames", "bytes", "oldest", "newest")


@dataclass(slots=True)
class Group:
    """Letters of one reason and camera."""

    frames: int
    nbytes: int
    oldest_ms: int
    newest_ms: int


@dataclass(slots=True)
class Tally:
    """Counts of one run. Writer: the run alone.

    Attributes:
        limit: how many may go; None for all.
        seen: dead letters looked at.
        strangers: records of the topic that are no dead letters.
        fates: letters by what became of them.
        redriven: put back and acknowledged.
        refused: not taken by Kafka, by its reason.
    """

    limit: int | None = None
    seen: int = 0
    strangers: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    redriven: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)

    def count(self, letter: Letter, fate: Fate) -> None:
        """Count one letter that was looked at."""
        self.seen += 1
        self.fates[fate] += 1
        if fate is Fate.GOES:
            key = letter.reason, letter.camera_id
            group = self.groups.setdefault(key, Group(0, 0, letter.at_ms, letter.at_ms))
            group.frames += 1
            group.nbytes += letter.nbytes
            group.oldest_ms = min(group.oldest_ms, letter.at_ms)
            group.newest_ms = max(group.newest_ms, letter.at_ms)

    @property
    def limited(self) -> bool:
        """Whether as many go as may."""
        return self.limit is not None and self.fates[Fate.GOES] >= self.limit

    def table(self) -> list[str]:
        """What goes, a line for each reason and camera, the most frequent first; at most 40 of them."""
        ordered = sorted(self.groups.items(), key=lambda item: (-item[1].frames, item[0]))
        rows = [_HEAD] + [
            (
                reason,
                "".join(c if c.isprintable() else "?" for c in camera),
                str(group.frames),
                str(group.nbytes),
                to_rfc3339(group.oldest_ms),
                to_rfc3339(group.newest_ms),
            )
            for (reason, camera), group in ordered[:_MOST_ROWS]
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        more = len(ordered) - _MOST_ROWS
        return [*lines, f"and {more} more of other reasons and cameras"] if more > 0 else lines

    def summary(self, *, dry_run: bool) -> str:
        """One line with all counts."""
        goes = self.fates[Fate.GOES] if dry_run else self.redriven
        parts = [f"{'would put back' if dry_run else 'put back'} {goes} of {self.seen} dead letters"]
        stay = [
            f"{self.fates[fate]} {fate.value}" for fate in Fate if fate is not Fate.GOES and self.fates[fate]
        ]
        stay += [f"{count} not taken by Kafka: {why}" for why, count in sorted(self.refused.items())]
        if self.strangers:
            stay.append(f"{self.strangers} records are no dead letters of riverlens")
        if self.limited:
            parts[0] += " (stopped at --limit)"
        return "; ".join(parts + stay)
