"""Which frames share the next call. Pure: `add`, `take`; no clock, no task, no I/O.

A batch is open, then sealed, never re-opened. It holds rows of one shape, at most `rows` of them and at
most `nbytes` in all (one row always fits, however large). Until it is taken it grows to its limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from riverlens_worker.messages import Batch, BatchReason, DecodedFrame


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one call may hold."""

    rows: int
    nbytes: int

    def share(self, frame: DecodedFrame) -> int:
        """What a frame takes of a call, as a part of `nbytes`: its bytes, or its place where that is more."""
        return max(frame.nbytes, self.nbytes // self.rows)


class OpenBatches:
    """Frames waiting for a call, by shape. Writer: Batcher alone."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._by_shape: dict[Hashable, deque[DecodedFrame]] = {}
        self._rows = 0

    def __len__(self) -> int:
        """Rows waiting."""
        return self._rows

    def add(self, frame: DecodedFrame) -> None:
        """Let a frame wait for the next call of its shape."""
        self._by_shape.setdefault(frame.shape, deque()).append(frame)
        self._rows += 1

    def take(self, now_s: float, *, draining: bool = False) -> Batch | None:
        """Seal the batch whose first frame has waited longest; None where no frame waits."""
        if not self._by_shape:
            return None
        shape = min(self._by_shape, key=lambda key: self._by_shape[key][0].ready_s)
        waiting = self._by_shape[shape]
        frames: list[DecodedFrame] = []
        nbytes = 0
        while waiting and len(frames) < self.limits.rows:
            if frames and nbytes + waiting[0].nbytes > self.limits.nbytes:
                break
            nbytes += waiting[0].nbytes
            frames.append(waiting.popleft())
        reason = self._reason(frames, waiting, draining=draining)
        if not waiting:
            del self._by_shape[shape]
        self._rows -= len(frames)
        return Batch(tuple(frames), reason, now_s)

    def _reason(
        self, frames: list[DecodedFrame], rest: deque[DecodedFrame], *, draining: bool
    ) -> BatchReason:
        if len(frames) >= self.limits.rows:
            return BatchReason.FULL
        if rest:
            return BatchReason.BYTES
        if draining:
            return BatchReason.DRAIN
        if len(self._by_shape) > 1:
            return BatchReason.SHAPE
        return BatchReason.DEVICE_FREE
