"""A closable stream between two stages of one process, and the signal it is made of.

The writer waits while it is full, the reader while it is empty. A closed channel means "no more after
these": the reader takes what is left, then sees EndOfStream, so a stop travels once, downstream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class EndOfStream(Exception):  # noqa: N818  # an end, not an error
    """The channel is closed and empty."""


class Signal:
    """Tells waiting tasks that something changed; each looks for itself whether it concerns it."""

    def __init__(self) -> None:
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; asked now and after every `fire`."""
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                # Cancelled while nothing fires: a poll that times out for hours must leave nothing here.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def fire(self) -> None:
        """Wake every waiter. Never waits itself."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


def _one(_: object) -> int:
    return 1


class Channel(Generic[T]):
    """Bounded first-in-first-out of items, many at a time. One event loop; any number of readers."""

    def __init__(self, capacity: int, weigh: Callable[[T], int] = _one) -> None:
        """`capacity` in items, or in whatever `weigh` says of each item."""
        self._capacity = capacity
        self._weigh = weigh
        self._weight = 0
        self._items: deque[T] = deque()
        self._changed = Signal()
        self._writing = asyncio.Lock()
        self._closed = False

    def __len__(self) -> int:
        """How many items wait for the reader."""
        return len(self._items)

    async def send_many(self, items: Sequence[T]) -> None:
        """Append items once there is room for at least one; a chunk may pass the capacity.

        Writers that wait get their turn in the order they came.

        Raises:
            EndOfStream: the channel was closed.
        """
        # Else a writer that has just written and comes again would always be woken before one that waits.
        async with self._writing:
            await self._changed.until(lambda: self._weight < self._capacity or self._closed)
            if self._closed:
                raise EndOfStream
            self._items.extend(items)
            self._weight += sum(map(self._weigh, items))
            self._changed.fire()

    async def until_room(self) -> None:
        """Return once there is room for at least one item, or the channel is closed."""
        await self._changed.until(lambda: self._weight < self._capacity or self._closed)

    def put_many(self, items: Sequence[T]) -> None:
        """Append items without waiting for room. For a writer that has waited, or is bounded otherwise."""
        self._items.extend(items)
        self._weight += sum(map(self._weigh, items))
        self._changed.fire()

    def remove(self, doomed: Callable[[T], bool]) -> list[T]:
        """Take out and return the items of which `doomed` holds; the others keep their order."""
        gone: list[T] = []
        kept: deque[T] = deque()
        for item in self._items:
            (gone if doomed(item) else kept).append(item)
        if gone:
            self._items = kept
            self._weight -= sum(map(self._weigh, gone))
            self._changed.fire()
        return gone

    async def receive_many(self, limit: int) -> list[T]:
        """At least one item and at most `limit`, waiting for the first.

        Raises:
            EndOfStream: closed, and nothing is left.
        """
        await self._changed.until(lambda: len(self._items) > 0 or self._closed)
        if not self._items:
            raise EndOfStream
        taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        self._weight -= sum(map(self._weigh, taken))
        self._changed.fire()
        return taken

    def close(self) -> None:
        """No more items; waiting readers and writers wake up. Closing twice is harmless."""
        self._closed = True
        self._changed.fire()
