"""Which letters of one partition were put back before. Pure.

It is kept as the committed offset of a consumer group: all below the offset are done, and the commit's
metadata names those above it. Kafka keeps 4096 bytes of metadata (offset.metadata.max.bytes), enough for
some thousand runs of done letters between others.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode

_MARK = "r1:"
MOST_CHARS = 4_000


class ForeignMemoryError(ValueError):
    """The group's metadata was not written by a redrive."""


class Memory:
    """A set of offsets that grows: all below `low`, and some above. Writer: the redrive run alone."""

    def __init__(self, low: int = 0, metadata: str = "") -> None:
        """As `saved` gave them.

        Raises:
            ForeignMemoryError: it never did.
        """
        self.low = low
        self._above = set(_decode(low, metadata))
        self._settle()

    def __contains__(self, offset: int) -> bool:
        return offset < self.low or offset in self._above

    def add(self, first: int, last: int | None = None) -> None:
        """Add an offset, or all from `first` to `last`, both in."""
        end = (first if last is None else last) + 1
        if first <= self.low:
            self.forget_below(end)
        else:
            self._above.update(range(first, end))

    def forget_below(self, offset: int) -> None:
        """All below count as done: retention removed them, or they are told one by one no more."""
        if offset > self.low:
            self.low = offset
            self._above = {each for each in self._above if each >= offset}
        self._settle()

    def runs(self) -> list[tuple[int, int]]:
        """What is done above `low`, as runs: first offset and number."""
        found: list[tuple[int, int]] = []
        for offset in sorted(self._above):
            if found and sum(found[-1]) == offset:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((offset, 1))
        return found

    def saved(self, most_chars: int = MOST_CHARS) -> tuple[int, str]:
        """Offset and metadata to commit. Where they do not fit, the lowest letters count as done from now on.

        So no letter is put back twice unawares; `low` tells how far that went.
        """
        while len(text := _encode(self.low, self.runs())) > most_chars:
            runs = self.runs()
            first, count = runs[len(runs) // 8]
            self.forget_below(first + count)
        return self.low, text

    def _settle(self) -> None:
        while self.low in self._above:
            self._above.remove(self.low)
            self.low += 1


def _encode(low: int, runs: list[tuple[int, int]]) -> str:
    """Each run as its distance from the one before and its length, compressed."""
    if not runs:
        return ""
    words, place = [], low
    for first, count in runs:
        words.append(f"{first - place}+{count}")
        place = first + count
    return _MARK + b85encode(zlib.compress(",".join(words).encode(), 9)).decode()


def _decode(low: int, metadata: str) -> list[int]:
    if not metadata:
        return []
    try:
        if not metadata.startswith(_MARK):
            raise ForeignMemoryError(metadata[:40])
        words = zlib.decompress(b85decode(metadata.removeprefix(_MARK))).decode().split(",")
        place = low
        offsets: list[int] = []
        for word in words:
            gap, count = map(int, word.split("+"))
            offsets += range(place + gap, place + gap + count)
            place += gap + count
    except (ValueError, zlib.error) as error:
        raise ForeignMemoryError(metadata[:40]) from error
    return offsets
