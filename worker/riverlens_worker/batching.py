"""Which frames share a call: as many as its limits allow, of one shape, fairly by partition. Pure.

When a batch leaves is not decided here: whoever can run one asks, and until then it grows.

Where more rows wait than a call takes, each partition in turn gives one: a backlog in one of them does not
keep the others out of the next call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from riverlens_worker.freshness import Freshness, newer
from riverlens_worker.messages import Batch, BatchReason, DecodedFrame
from riverlens_worker.offsets import PartitionLease


@dataclass(frozen=True, slots=True)
class Limits:
    """The most one call may hold."""

    rows: int
    nbytes: int

    def share(self, frame: DecodedFrame) -> int:
        """What a frame takes of a call, as a part of `nbytes`: its bytes, or its place where that is more."""
        return max(frame.nbytes, self.nbytes // self.rows)


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """What a call may hold so that its oldest frame is answered in time.

    Attributes:
        most_ms: wanted at most from capture to answer; None: nothing is wanted.
        cost: what a call costs, (a, b) in seconds and seconds a row; None while unknown.
    """

    most_ms: float | None
    cost: Callable[[], tuple[float, float] | None]

    def rows(self, age_s: float) -> int | None:
        """The most rows that are answered in time, given the oldest frame's age.

        None while the cost is unknown, and where it is too late even for that frame alone: then small calls
        would only make all others late as well.
        """
        cost = self.cost()
        left_s = (self.most_ms or 0.0) / 1000 - age_s
        if self.most_ms is None or cost is None or left_s < cost[0] + cost[1]:
            return None
        return None if cost[1] <= 0 else max(1, int((left_s - cost[0]) / cost[1]))


@dataclass(slots=True, eq=False)
class _Shape:
    """Rows of one shape, by partition; the first partition has the next turn. None is empty."""

    queues: dict[PartitionLease, deque[DecodedFrame]] = field(default_factory=dict)
    rows: int = 0
    nbytes: int = 0

    def add(self, frame: DecodedFrame) -> None:
        lease = frame.source.lease
        queue = self.queues.get(lease)
        if queue is None:
            queue = self.queues[lease] = deque()
        queue.append(frame)
        self.rows += 1
        self.nbytes += frame.nbytes

    def since_s(self) -> float:
        """Since when its first row has waited."""
        return min(queue[0].ready_s for queue in self.queues.values())

    def take(self, limits: Limits) -> list[DecodedFrame]:
        """Remove and return the rows of one call."""
        if self.rows <= limits.rows and self.nbytes <= limits.nbytes:
            frames = [frame for queue in self.queues.values() for frame in queue]
            self.queues.clear()
        else:
            frames = self._take_in_turns(limits)
        self.rows -= len(frames)
        self.nbytes -= sum(frame.nbytes for frame in frames)
        return frames

    def _take_in_turns(self, limits: Limits) -> list[DecodedFrame]:
        frames: list[DecodedFrame] = []
        nbytes = 0
        while self.queues and len(frames) < limits.rows:
            lease, queue = next(iter(self.queues.items()))
            nbytes += queue[0].nbytes
            if frames and nbytes > limits.nbytes:
                break
            frames.append(queue.popleft())
            del self.queues[lease]
            if queue:
                self.queues[lease] = queue  # behind all others
        return frames

    def put_in_place(self, frame: DecodedFrame, of: DecodedFrame) -> None:
        """The row takes another one's place."""
        queue = self.queues[of.source.lease]
        queue[queue.index(of)] = frame
        self.nbytes += frame.nbytes - of.nbytes

    def remove(self, frame: DecodedFrame) -> None:
        """The row waits no more."""
        queue = self.queues[frame.source.lease]
        queue.remove(frame)
        if not queue:
            del self.queues[frame.source.lease]
        self.rows -= 1
        self.nbytes -= frame.nbytes

    def __iter__(self) -> Iterator[DecodedFrame]:
        return (frame for queue in self.queues.values() for frame in queue)


class OpenBatches:
    """Frames waiting for a call, by shape. Writer: Batcher alone."""

    def __init__(
        self,
        limits: Limits,
        freshness: Freshness | None = None,
        target: LatencyTarget | None = None,
        spared: Callable[[int], int] | None = None,
    ) -> None:
        """`freshness`: the policies, None where every frame counts; `target`: None where there is none.

        `spared`: rows that a call takes at most where more than the given limit wait; None: that limit.
        """
        self.limits = limits
        self._most_rows = limits.rows
        self._spared = spared
        self._target = target
        self._freshness = freshness
        self._by_shape: dict[Hashable, _Shape] = {}
        self._newest: dict[tuple[PartitionLease, str], DecodedFrame] = {}
        self._rows = 0

    def __len__(self) -> int:
        """Rows waiting."""
        return self._rows

    def add(self, frame: DecodedFrame) -> DecodedFrame | None:
        """Let a frame wait for the next call of its shape; returns the one that gives way to it, or to which.

        A camera's newer row takes the place of the one that waits: no shape and no camera loses its turn.
        """
        if self._freshness is None or not self._freshness.replaceable(frame.source):
            self._add(frame)
            return None
        key = frame.source.lease, frame.source.frame.camera_id
        older = self._newest.get(key)
        if older is None:
            self._newest[key] = frame
            self._add(frame)
            return None
        if not newer(frame.source, older.source):
            return frame
        frame = self._newest[key] = replace(frame, ready_s=older.ready_s)
        if frame.shape == older.shape:
            self._by_shape[frame.shape].put_in_place(frame, older)
        else:
            self._remove(older)
            self._add(frame)
        return older

    def _add(self, frame: DecodedFrame) -> None:
        waiting = self._by_shape.get(frame.shape)
        if waiting is None:
            waiting = self._by_shape[frame.shape] = _Shape()
        waiting.add(frame)
        self._rows += 1

    def _remove(self, frame: DecodedFrame) -> None:
        waiting = self._by_shape[frame.shape]
        waiting.remove(frame)
        if not waiting.queues:
            del self._by_shape[frame.shape]
        self._rows -= 1

    def sweep(self, now_s: float) -> Sequence[DecodedFrame]:
        """Remove and return the rows that have gone stale."""
        freshness = self._freshness
        if freshness is None:
            return ()
        stale = [
            row for rows in self._by_shape.values() for row in rows if freshness.stale(row.source, now_s)
        ]
        for row in stale:
            self._remove(row)
        self._forget(stale)
        return stale

    def take(self, now_s: float, *, draining: bool = False) -> Batch | None:
        """Seal a batch of the shape whose first frame has waited longest; None where no frame waits."""
        if not self._by_shape:
            return None
        shape = next(iter(self._by_shape))
        if len(self._by_shape) > 1:
            shape = min(self._by_shape, key=lambda key: self._by_shape[key].since_s())
        waiting = self._by_shape[shape]
        in_time = self._in_time(waiting, now_s)
        limits = in_time or self._limits_for(waiting)
        frames = waiting.take(limits)
        most = limits.rows if in_time is None else self.limits.rows
        reason = self._reason(len(frames), most, waiting.rows, draining=draining)
        if in_time is not None and waiting.rows and len(frames) == in_time.rows:
            reason = BatchReason.DEADLINE
        if not waiting.rows:
            del self._by_shape[shape]
        self._rows -= len(frames)
        if self._newest:
            self._forget(frames)
        return Batch(tuple(frames), reason, now_s)

    def _limits_for(self, waiting: _Shape) -> Limits:
        """What a call may hold; a little less where more wait, so that who keeps up is served sooner."""
        limits = self.limits
        # What the server refused is learnt anew by calls that are as large as they may be.
        learnt = limits.rows < self._most_rows
        if self._spared is None or learnt or waiting.rows <= limits.rows:
            return limits
        return replace(limits, rows=self._spared(limits.rows))

    def _in_time(self, waiting: _Shape, now_s: float) -> Limits | None:
        """Narrower limits, so that the oldest row is answered in time; None where they are not needed."""
        if self._target is None:
            return None
        age_s = max(now_s - row.source.arrived_s + row.source.broker_ms / 1000 for row in waiting)
        rows = self._target.rows(age_s)
        return None if rows is None or rows >= self.limits.rows else Limits(rows, self.limits.nbytes)

    def _forget(self, gone: Sequence[DecodedFrame]) -> None:
        for row in gone:
            key = row.source.lease, row.source.frame.camera_id
            if self._newest.get(key) is row:
                del self._newest[key]

    def _reason(self, rows: int, most: int, rest: int, *, draining: bool) -> BatchReason:
        if rows >= most:
            return BatchReason.FULL
        if rest:
            return BatchReason.BYTES
        if draining:
            return BatchReason.DRAIN
        if len(self._by_shape) > 1:
            return BatchReason.SHAPE
        return BatchReason.DEVICE_FREE
