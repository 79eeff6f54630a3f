"""A closable stream between two stages of one process.

The writer waits while it is full, the reader while it is empty. A closed channel means "no more after
these": the reader takes what is left, then sees EndOfStream, so a stop travels once, downstream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class EndOfStream(Exception):  # noqa: N818  # an end, not an error
    """The channel is closed and empty."""


class Channel(Generic[T]):
    """Bounded first-in-first-out of items, many at a time. One event loop; any number of readers."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """How many items wait for the reader."""
        return len(self._items)

    async def send_many(self, items: Sequence[T]) -> None:
        """Append items once there is room for at least one; a chunk may pass the capacity.

        Raises:
            EndOfStream: the channel was closed.
        """
        while len(self._items) >= self._capacity and not self._closed:
            await self._wait()
        if self._closed:
            raise EndOfStream
        self._items.extend(items)
        self._wake()

    async def receive_many(self, limit: int) -> list[T]:
        """At least one item and at most `limit`, waiting for the first.

        Raises:
            EndOfStream: closed, and nothing is left.
        """
        while not self._items:
            if self._closed:
                raise EndOfStream
            await self._wait()
        taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        self._wake()
        return taken

    def close(self) -> None:
        """No more items; waiting readers and writers wake up. Closing twice is harmless."""
        self._closed = True
        self._wake()

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        await waiter

    def _wake(self) -> None:
        while self._changed:
            waiter = self._changed.popleft()
            if not waiter.done():
                waiter.set_result(None)
