"""Frames on their way to Kafka, bounded in bytes. Pure: no I/O, no clock.

A frame waits, is handed to the Kafka client (in flight), and settles. Both count against the limit: the
frame's bytes are kept until the broker has acknowledged it, so that it can be sent again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from riverlens.frame import Frame

WhenFull = Literal["block", "drop_oldest", "drop_newest"]
"""What to do with a frame when the buffer is full: wait (files), or give up the oldest frame still waiting
or the new one (live cameras, whose next frame is worth more than this one)."""

_OVERHEAD_BYTES = 512  # a Frame object, its record headers and our own bookkeeping


@dataclass(slots=True)
class Entry:
    """One frame in the buffer.

    Attributes:
        droppable: its sender would rather lose it than wait.
        size_bytes: what it counts against the limit.
        serial: position in the order of sending.
        partition: where it goes; None: where its key says.
    """

    frame: Frame
    droppable: bool
    size_bytes: int
    serial: int
    partition: int | None = None


class FrameBuffer:
    """Waiting and in-flight frames of one FrameProducer, which alone changes it.

    Invariants: `held_bytes` is the sum of all entries; it exceeds `limit_bytes` only by a single frame that
    is larger than the limit itself; frames leave `take` in the order of their serials.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.in_flight_bytes = 0
        self._waiting: OrderedDict[int, Entry] = OrderedDict()
        self._in_flight: dict[int, Entry] = {}
        self._next_serial = 0

    def __len__(self) -> int:
        """Frames that have not settled."""
        return len(self._waiting) + len(self._in_flight)

    def has_room(self, frame: Frame) -> bool:
        """Whether the frame fits now. An empty buffer takes any frame."""
        return self.held_bytes == 0 or self.held_bytes + _size_bytes(frame) <= self.limit_bytes

    def push(self, frame: Frame, *, droppable: bool, partition: int | None = None) -> Entry:
        """Append the frame; the caller has asked `has_room`."""
        entry = Entry(frame, droppable, _size_bytes(frame), self._next_serial, partition)
        self._next_serial += 1
        self._waiting[entry.serial] = entry
        self.held_bytes += entry.size_bytes
        return entry

    def evict_for(self, frame: Frame) -> list[Entry]:
        """Remove the oldest droppable frames that still wait, as many as make room for `frame`.

        Returns the removed ones; an empty list, and nothing removed, where even all of them would not do.
        """
        missing_bytes = self.held_bytes + _size_bytes(frame) - self.limit_bytes
        chosen: list[Entry] = []
        for entry in self._waiting.values():
            if missing_bytes <= 0:
                break
            if entry.droppable:
                chosen.append(entry)
                missing_bytes -= entry.size_bytes
        if missing_bytes > 0:
            return []
        for entry in chosen:
            del self._waiting[entry.serial]
            self.held_bytes -= entry.size_bytes
        return chosen

    def take(self, window_bytes: int) -> Entry | None:
        """Move the oldest waiting frame in flight; None where none waits or the window is full."""
        if not self._waiting or self.in_flight_bytes >= window_bytes:
            return None
        _, entry = self._waiting.popitem(last=False)
        self._in_flight[entry.serial] = entry
        self.in_flight_bytes += entry.size_bytes
        return entry

    def settle(self, entry: Entry) -> bool:
        """Forget a frame in flight; False where it was forgotten before."""
        if self._in_flight.pop(entry.serial, None) is None:
            return False
        self.held_bytes -= entry.size_bytes
        self.in_flight_bytes -= entry.size_bytes
        return True

    def requeue(self) -> int:
        """Move everything in flight back to the front, in the order of sending; returns how many."""
        returned = sorted(self._in_flight)
        for serial in reversed(returned):
            self._waiting[serial] = self._in_flight.pop(serial)
            self._waiting.move_to_end(serial, last=False)
        self.in_flight_bytes = 0
        return len(returned)

    def clear(self) -> list[Entry]:
        """Forget everything; returns what had not settled, in the order of sending."""
        left = [*(self._in_flight[serial] for serial in sorted(self._in_flight)), *self._waiting.values()]
        self._in_flight.clear()
        self._waiting.clear()
        self.held_bytes = self.in_flight_bytes = 0
        return left


def _size_bytes(frame: Frame) -> int:
    return len(frame.image) + _OVERHEAD_BYTES
