"""Restores a lease's order, whatever order the answers came in. Pure.

One resequencer per lease. Every frame read passes through it exactly once, as an answer or a
rejection, so the ordinals are dense and nothing waits for ever.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Resequencer(Generic[T]):
    """Takes items in any order of their ordinals, gives them back in order."""

    __slots__ = ("_early", "_next")

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._early: dict[int, T] = {}

    def push(self, ordinal: int, item: T) -> list[T]:
        """Add one item; returns those whose turn has come, in order (often none or one).

        Raises:
            ValueError: this ordinal was seen before.
        """
        if ordinal < self._next or ordinal in self._early:
            raise ValueError(f"ordinal {ordinal} twice, next is {self._next}")
        if ordinal != self._next:
            self._early[ordinal] = item
            return []
        released = [item]
        self._next += 1
        while self._early and self._next in self._early:
            released.append(self._early.pop(self._next))
            self._next += 1
        return released

    def __len__(self) -> int:
        """How many items wait for an earlier one."""
        return len(self._early)
