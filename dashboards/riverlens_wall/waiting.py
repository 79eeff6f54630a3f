"""Frames of one camera that wait for their events. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from riverlens_wall.looks import Look

MOST = 256
"""Frames of one camera that wait, at most: some weigh nothing (references), and events may stay away."""


class Place(NamedTuple):
    """Where a frame lies on the frames topic."""

    partition: int
    offset: int


@dataclass(slots=True)
class HeldFrame:
    """A frame as the wall keeps it. `image` is None where it is not shown, or too large to keep.

    Attributes:
        waits: whether it is among the frames that wait. Owned by Waiting.
    """

    place: Place
    image: bytes | None
    look: Look
    captured_at_ms: int
    sequence: int | None
    waits: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes it holds."""
        return len(self.image) if self.image is not None else 0


class Waiting:
    """By partition, each in the order of its offsets: an event is met, and passes over others, at the front.

    Attributes:
        nbytes: bytes that all of them hold.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._count = 0
        self._lines: dict[int, deque[HeldFrame]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, frame: HeldFrame) -> None:
        """The next one of its partition; the oldest gives way where there are too many."""
        frame.waits = True
        self.nbytes += frame.nbytes
        self._count += 1
        self._lines.setdefault(frame.place.partition, deque()).append(frame)
        if self._count > MOST:
            self.drop_oldest()

    def pass_over(self, place: Place) -> int:
        """Frames of this partition before `place` wait no longer; how many they were."""
        line = self._lines.get(place.partition)
        before = self._count
        while line and line[0].place.offset < place.offset:
            self._leave(line)
        return before - self._count

    def meet(self, place: Place) -> HeldFrame | None:
        """The frame at `place`, which waits no longer; None where it does not wait. After `pass_over`."""
        line = self._lines.get(place.partition)
        return self._leave(line) if line and line[0].place == place else None

    def drop_until(self, captured_at_ms: int) -> None:
        """Frames captured up to then wait no longer."""
        for line in list(self._lines.values()):
            while line and line[0].captured_at_ms <= captured_at_ms:
                self._leave(line)

    def drop_oldest(self) -> None:
        """The one captured first waits no longer."""
        lines = [line for line in self._lines.values() if line]
        if lines:
            self._leave(min(lines, key=lambda line: line[0].captured_at_ms))

    def clear(self) -> None:
        """None waits."""
        while self._count:
            self.drop_oldest()

    def _leave(self, line: deque[HeldFrame]) -> HeldFrame:
        frame = line.popleft()
        frame.waits = False
        self.nbytes -= frame.nbytes
        self._count -= 1
        if not line:
            del self._lines[frame.place.partition]
        return frame
