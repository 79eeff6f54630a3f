"""Turns frames into rows on threads. Shell.

Encoded frames that go to the model as they are need only a look at the header and never leave the event
loop. Frames of a lease that is no longer open are fenced unread, stale ones dropped.

Frames are taken only once there is room for their rows: those that wait in Admission may still be dropped
or superseded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from riverlens.drop import DropReason
from riverlens.signature import InputKind
from riverlens_worker.admission import Admitted
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.decoding import UndecodableError, quick_row, to_row
from riverlens_worker.freshness import Freshness
from riverlens_worker.messages import (
    DecodedFrame,
    LeasedFrame,
    Prediction,
    Rejected,
    dead_letter,
    dropped,
    fenced,
)
from riverlens_worker.metrics import Metrics
from riverlens_worker.target import Row, Target

_CHUNK_BYTES = 8 * 1024 * 1024
"""A trip to a thread ends when it has decoded this much: large images go on one by one."""
_CHUNK_FRAMES = 4
"""Frames decoded in one trip to a thread: the trip costs as much as a small decode."""
_TRIPS = 2
"""A thread finds its next trip waiting: the event loop, busy with what came back, has it prepared later.
Not where frames may grow stale, which those that wait for a thread do unseen; nor where rows are large."""
_LOOK_FRAMES = 32
"""Encoded frames looked at in one go; most need no more than that."""

Decoded = DecodedFrame | Rejected


@dataclass(frozen=True, slots=True)
class DecodePoolPorts:
    """Where frames come from and go to.

    Attributes:
        freshness: the cameras' policies; None where every frame counts.
    """

    take: Callable[[int], Awaitable[list[Admitted]]]
    decoded: Channel[DecodedFrame]
    results: Channel[Prediction | Rejected]
    freshness: Freshness | None = None


class DecodePool:
    """Pulls frames, decodes them on `threads` threads, passes rows on. Ends when its input ends."""

    def __init__(self, ports: DecodePoolPorts, target: Target, threads: int, metrics: Metrics) -> None:
        self._ports = ports
        self._target = target
        self._threads = threads
        self._metrics = metrics
        self.held = 0
        """Frames taken and not passed on yet."""
        small = target.row_bytes is not None and target.row_bytes * _CHUNK_FRAMES <= _CHUNK_BYTES
        self._trips = threads * (_TRIPS if small and ports.freshness is None else 1)
        self.at_once = self._trips * _CHUNK_FRAMES
        """Frames that are decoded or wait for a thread, at most."""
        self._undecoded: list[list[LeasedFrame]] = []

    def rows_a_thread(self, rows: int) -> int:
        """How many of `rows` frames that are still to come one thread has in hand, at most; one at least."""
        return min(max(1, rows), max(_CHUNK_FRAMES, -(-rows // self._threads)))

    async def run(self) -> None:
        """Decode until the input ends, then close the output."""
        with ThreadPoolExecutor(self._threads, thread_name_prefix="decode") as threads:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._trips):
                    group.create_task(self._work(threads))
        self._ports.decoded.close()

    async def _work(self, threads: ThreadPoolExecutor) -> None:
        most = _LOOK_FRAMES if self._target.kind is InputKind.ENCODED else _CHUNK_FRAMES
        waiting: list[LeasedFrame] = []
        self._undecoded.append(waiting)
        while True:
            await self._ports.decoded.until_room()
            try:
                taken = await self._ports.take(most)
            except EndOfStream:
                return
            self.held += len(taken)
            done, slow = self._look(taken)
            await self._pass_on(done)
            waiting += slow
            await self._decode_all(waiting, threads)

    async def _decode_all(self, waiting: list[LeasedFrame], threads: ThreadPoolExecutor) -> None:
        """Decode what takes a thread; meanwhile `sweep` may shorten the list."""
        loop = asyncio.get_running_loop()
        while waiting:
            chunk = waiting[:_CHUNK_FRAMES]
            del waiting[:_CHUNK_FRAMES]
            decoded = await loop.run_in_executor(threads, self._decode_some, chunk)
            waiting[:0] = chunk[len(decoded) :]
            await self._pass_on(decoded)
            await self._ports.decoded.until_room()

    def sweep(self, freshness: Freshness, now_s: float) -> list[Rejected]:
        """Frames that have gone stale before they were decoded; they wait no more."""
        gone: list[Rejected] = []
        for frames in self._undecoded:
            stale = [frame for frame in frames if freshness.stale(frame, now_s)]
            frames[:] = [frame for frame in frames if frame not in stale]
            gone += [dropped(frame, DropReason.STALE) for frame in stale]
        self.held -= len(gone)
        return gone

    def _look(self, items: Sequence[Admitted]) -> tuple[list[Decoded], list[LeasedFrame]]:
        """What needs no decoding, done; and the frames that take a thread."""
        done: list[Decoded] = []
        slow: list[LeasedFrame] = []
        freshness = self._ports.freshness
        for item in items:
            if isinstance(item, Rejected):
                done.append(item)
            elif not item.lease.open:
                done.append(fenced(item))
            elif freshness is not None and freshness.stale(item, time.monotonic()):
                done.append(dropped(item, DropReason.STALE))
            else:
                started_s = time.monotonic()
                row = quick_row(item.image, item.content_type, self._target)
                if row is None:
                    slow.append(item)
                else:
                    done.append(_decoded(item, row, started_s))
        return done, slow

    def _decode_some(self, items: Sequence[LeasedFrame]) -> list[Decoded]:
        """The first items decoded, at least one."""
        done: list[Decoded] = []
        nbytes = 0
        for item in items:
            if nbytes >= _CHUNK_BYTES:
                break
            decoded = decode_frame(item, self._target) if item.lease.open else fenced(item)
            nbytes += decoded.nbytes if isinstance(decoded, DecodedFrame) else 0
            done.append(decoded)
        return done

    async def _pass_on(self, done: list[Decoded]) -> None:
        rows = [item for item in done if isinstance(item, DecodedFrame)]
        rejected = [item for item in done if isinstance(item, Rejected)]
        for row in rows:
            if row.reencoded:
                self._metrics.reencoded(row.reencoded).inc()
        if rejected:
            await self._ports.results.send_many(rejected)
            self.held -= len(rejected)
        if rows:
            # There was room when they were taken; a trip of each thread may pass it, or two of small rows.
            self._ports.decoded.put_many(rows)
            self.held -= len(rows)


def decode_frame(item: LeasedFrame, target: Target) -> Decoded:
    """Decode one frame, timed; a frame that cannot be decoded becomes a dead letter. Never raises."""
    started_s = time.monotonic()
    try:
        row = to_row(item.image, item.content_type, target)
    except UndecodableError as error:
        return dead_letter(item, error.reason, str(error))
    return _decoded(item, row, started_s)


def _decoded(item: LeasedFrame, row: Row, started_s: float) -> DecodedFrame:
    ready_s = time.monotonic()
    return DecodedFrame(
        source=item,
        row=row.row,
        shape=row.shape,
        nbytes=row.nbytes,
        size=row.size,
        decode_ms=(ready_s - started_s) * 1000,
        ready_s=ready_s,
        reencoded=row.reencoded,
    )
