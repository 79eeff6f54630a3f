"""Which dead letters go back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from riverlens.dead_letter import Reason
from riverlens_worker.redrive.letter import Letter

MOST_TIMES = 3
"""A frame that came back so often stays a dead letter."""
ALL_OFFSETS = (0, 2**63 - 1)


class Fate(Enum):
    """What becomes of a dead letter, in words for those that stay though they were asked for."""

    GOES = "goes back"
    NOT_ASKED = "not asked for"
    DONE = "put back before (--again puts them back once more)"
    TOO_OFTEN = f"came back {MOST_TIMES} times already"
    OMITTED = "without the frame: it was too large to be kept (dlq-value-omitted)"
    UNREADABLE = "without the frame: it could not be read from Kafka"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; an empty set or None asks for all.

    Attributes:
        topic: the frames topic; frames of other ones were never asked for.
        since_ms, until_ms: when the letter was set aside, epoch milliseconds; `until_ms` itself is out.
        cameras: globs.
        partition, first_offset, last_offset: where the frame lay; both offsets are in.
        again: also those put back before.
    """

    topic: str
    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    cameras: Sequence[str] = ()
    partition: int | None = None
    first_offset: int = ALL_OFFSETS[0]
    last_offset: int = ALL_OFFSETS[1]
    again: bool = False


def fate(letter: Letter, wish: Wish, *, done: bool) -> Fate:
    """What becomes of one letter; `done`: it was put back before."""
    if not _is_asked_for(letter, wish):
        return Fate.NOT_ASKED
    if done and not wish.again:
        return Fate.DONE
    if letter.reason == Reason.UNREADABLE:
        return Fate.UNREADABLE
    if letter.omitted:
        return Fate.OMITTED
    return Fate.TOO_OFTEN if letter.times >= MOST_TIMES else Fate.GOES


def _is_asked_for(letter: Letter, wish: Wish) -> bool:
    origin = letter.origin
    return (
        origin.topic == wish.topic
        and (not wish.reasons or letter.reason in wish.reasons)
        and (wish.since_ms is None or letter.at_ms >= wish.since_ms)
        and (wish.until_ms is None or letter.at_ms < wish.until_ms)
        and (not wish.cameras or any(fnmatchcase(letter.camera_id, glob) for glob in wish.cameras))
        and (wish.partition is None or origin.partition == wish.partition)
        and wish.first_offset <= origin.offset <= wish.last_offset
    )
