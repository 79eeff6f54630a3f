"""Holds the open batches and hands them out on demand. Shell.

It pulls rows until two batches' worth wait, and no further: what waits here is bounded and, once handed
out, never comes back. Where policies ask for fresh frames, stale rows go before a batch is sealed.

Where this machine decodes slower than the device answers, the device keeps no batch waiting and each would
leave with a row or two. A call costs the same CPU that decodes, so a batch that is sure to fill is left to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from riverlens.drop import DropReason
from riverlens_worker.batching import LatencyTarget, Limits, OpenBatches
from riverlens_worker.channel import Channel, EndOfStream, Signal
from riverlens_worker.freshness import Freshness
from riverlens_worker.messages import Batch, DecodedFrame, LeasedFrame, Rejected, dropped
from riverlens_worker.metrics import Metrics

_FILLING_S = 0.1
"""A batch is left to fill for no longer: frames of other shapes do not fill it."""
_FADE = 0.95

PassBy = Callable[[Sequence[Rejected]], None]


class Batcher:
    """Rows in, batches out. A batch leaves when somebody who can run it asks, and grows until then."""

    def __init__(
        self,
        rows: Channel[DecodedFrame],
        limits: Limits,
        metrics: Metrics,
        freshness: Freshness | None = None,
        pass_by: PassBy = lambda _: None,
        *,
        target: LatencyTarget | None = None,
        spared: Callable[[int], int] | None = None,
        coming: Callable[[], int] = lambda: 0,
        sealed: Callable[[Iterable[LeasedFrame]], None] = lambda _: None,
    ) -> None:
        """`freshness`: the policies, None where every frame counts; `pass_by` takes what they drop.

        `target`, `spared`: as of `OpenBatches`. `coming`: how many frames are being decoded, or may be;
        `sealed` hears which are in a batch.
        """
        self._rows = rows
        self._most = limits
        self._open = OpenBatches(limits, freshness, target, spared)
        self._freshness = freshness
        self._pass_by = pass_by
        self._coming = coming
        self._sealed = sealed
        self._metrics = metrics
        self._changed = Signal()
        self._ended = False
        self._share = limits.share
        self._waiting = 0
        self.decode_s = 0.0
        """What the decode of a row took of late, in seconds."""

    async def run(self) -> None:
        """Pull rows until the input ends."""
        while True:
            await self._changed.until(self._has_room)
            try:
                rows = await self._rows.receive_many(2 * self._open.limits.rows - len(self._open))
            except EndOfStream:
                break
            for row in rows:
                self._waiting += self._share(row)
                self.decode_s += (1 - _FADE) * (row.decode_ms / 1000 - self.decode_s)
                superseded = self._open.add(row)
                if superseded is not None:
                    self._waiting -= self._share(superseded)
                    self._pass_by([dropped(superseded.source, DropReason.SUPERSEDED)])
            self._changed.fire()
        self._ended = True
        self._changed.fire()

    def _has_room(self) -> bool:
        """Whether less than two batches' worth waits, in rows and in bytes: one of them is left to choose."""
        return len(self._open) < 2 * self._open.limits.rows and self._waiting < 2 * self._most.nbytes

    async def take(self) -> Batch:
        """The batch whose first row has waited longest, as soon as there is one.

        Raises:
            EndOfStream: the input has ended and every row was handed out.
        """
        while True:
            await self._changed.until(lambda: len(self._open) > 0 or self._ended)
            if self._filling():
                await self._let_fill()
            batch = self._seal()
            if batch is not None:
                return batch
            if self._ended:
                raise EndOfStream

    def take_now(self) -> Batch | None:
        """The same without waiting; None where `take` would wait or end."""
        return None if self._filling() else self._seal()

    def _seal(self) -> Batch | None:
        """A batch of what waits; None where nothing does, or nothing fresh."""
        now_s = time.monotonic()
        if self._freshness is not None and (stale := self.sweep(now_s)):
            self._pass_by(stale)
        batch = self._open.take(now_s, draining=self._ended)
        if batch is None:
            return None
        self._waiting -= sum(map(self._share, batch.frames))
        self._changed.fire()
        self._sealed(frame.source for frame in batch.frames)
        self._metrics.batches(batch.reason.value).inc()
        self._metrics.batch_rows.observe(len(batch.frames))
        return batch

    def _filling(self) -> bool:
        """Whether the batch is not full, but will be when all that was read is decoded."""
        missing = self._open.limits.rows - len(self._open)
        return not self.full() and not self._ended and self._coming() >= missing

    async def _let_fill(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FILLING_S):
                await self._changed.until(lambda: not self._filling())

    def sweep(self, now_s: float) -> list[Rejected]:
        """Remove and return stale rows, those that still wait in the channel included."""
        freshness = self._freshness
        if freshness is None:
            return []
        stale = self._open.sweep(now_s)
        if stale:
            self._waiting -= sum(map(self._share, stale))
            self._changed.fire()
        unread = self._rows.remove(lambda row: freshness.stale(row.source, now_s))
        return [dropped(row.source, DropReason.STALE) for row in (*stale, *unread)]

    @property
    def waiting(self) -> int:
        """Rows that wait to be taken."""
        return len(self._open)

    def full(self) -> bool:
        """Whether a full batch waits: nothing is gained by keeping it."""
        return len(self._open) >= self._open.limits.rows or self._waiting >= self._most.nbytes

    async def until_full(self, full: bool) -> None:  # noqa: FBT001  # its one question
        """Return once a full batch waits, or (False) none does."""
        await self._changed.until(lambda: self.full() is full)

    @property
    def limit_rows(self) -> int:
        """Rows of a full batch: the setting's, the model's or the server's limit."""
        return self._open.limits.rows

    def limit(self, limits: Limits) -> None:
        """What a batch may hold from now on; never more than at the start."""
        rows, nbytes = min(limits.rows, self._most.rows), min(limits.nbytes, self._most.nbytes)
        self._open.limits = Limits(max(1, rows), max(1, nbytes))
        self._changed.fire()
