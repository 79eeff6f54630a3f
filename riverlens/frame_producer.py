"""`FrameProducer`: puts frames on Kafka, in order per camera, acknowledged by all replicas, memory bounded.

    async with FrameProducer("127.0.0.1:9092") as producer:
        await producer.send(Frame("lobby", jpeg, captured_at_ms))

At least once: after a broker has ruined the client (it rejected a frame) the unacknowledged frames are
sent again, in order; a repeated frame carries the same frame-id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from riverlens.errors import RiverlensError
from riverlens.frame import MAX_FRAME_BYTES, Frame
from riverlens.frame_buffer import FrameBuffer, WhenFull
from riverlens.frame_delivery import Delivery, Outcome
from riverlens.kafka import KafkaSettings

__all__ = [
    "DeliveryError",
    "FrameCounts",
    "FrameProducer",
    "FrameTooLargeError",
    "Outcome",
    "ProducerStats",
    "WhenFull",
]

_log = logging.getLogger(__name__)

_WAIT_NOTICE_S = 10.0


class FrameTooLargeError(RiverlensError):
    """The frame is larger than topic, producer and worker agree on; nothing was sent."""


class DeliveryError(RiverlensError):
    """Frames were accepted by `send` and then not acknowledged."""


@dataclass(slots=True)
class FrameCounts:
    """How frames ended. sent = acknowledged + dropped + failed + those on their way.

    Attributes:
        sent: frames given to `send` and not refused.
        acknowledged: frames that all in-sync replicas have.
        dropped: frames given up because the buffer was full.
        failed: frames the broker rejected, or that were unacknowledged at the end.
        acknowledged_bytes: image bytes of the acknowledged frames.
    """

    sent: int = 0
    acknowledged: int = 0
    dropped: int = 0
    failed: int = 0
    acknowledged_bytes: int = 0

    def settled(self, size_bytes: int, outcome: Outcome) -> None:
        """Count how a frame of `size_bytes` ended."""
        if outcome is Outcome.ACKNOWLEDGED:
            self.acknowledged += 1
            self.acknowledged_bytes += size_bytes
        elif outcome is Outcome.DROPPED:
            self.dropped += 1
        else:
            self.failed += 1


@dataclass(slots=True)
class ProducerStats(FrameCounts):
    """Counts since the start.

    Attributes:
        pending: frames buffered or in flight now.
        pending_bytes: bytes held now, never more than `buffer_bytes` (or one frame).
    """

    pending: int = 0
    pending_bytes: int = 0


class FrameProducer:
    """Sends frames to one topic. Use as an async context manager, from one event loop.

    Args:
        bootstrap_servers: `host:port[,host:port]`, or KafkaSettings for TLS and logins.
        topic: where to; it must exist.
        when_full: what `send` does by default when Kafka is slower than the frames come.
        buffer_bytes: memory for frames that are not acknowledged yet.
        max_frame_bytes: larger images are refused by `send`.
        close_timeout_s: how long leaving the context waits for acknowledgements.
        on_settled: called once per frame with its outcome, from the event loop; must not block or raise.
    """

    def __init__(
        self,
        bootstrap_servers: str | KafkaSettings = "127.0.0.1:9092",
        *,
        topic: str = "frames",
        when_full: WhenFull = "block",
        buffer_bytes: int = 32 * 1024 * 1024,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        close_timeout_s: float = 30.0,
        on_settled: Callable[[Frame, Outcome], None] | None = None,
    ) -> None:
        given = bootstrap_servers
        self._kafka = given if isinstance(given, KafkaSettings) else KafkaSettings(bootstrap_servers=given)
        self._topic = topic
        self._when_full: WhenFull = when_full
        self._close_timeout_s = close_timeout_s
        self._on_settled = on_settled
        self._buffer = FrameBuffer(buffer_bytes)
        self._delivery = Delivery(
            self._kafka,
            topic,
            self._buffer,
            max_frame_bytes=max_frame_bytes,
            on_settled=self._settled,
        )
        self._counts = ProducerStats()
        self._failures = 0
        self._first_failure = ""
        self._open = False
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            UnreachableError: no broker answers, it refuses us, or it has no such topic.
        """
        await self._delivery.start()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Flush, unless an exception is passing: then what is unacknowledged is given up. Disconnect.

        Raises:
            DeliveryError: as `flush`.
        """
        try:
            if kind is None:
                await self.flush(timeout_s=self._close_timeout_s)
        finally:
            self._open = False
            await self._delivery.close()

    @property
    def stats(self) -> ProducerStats:
        """The counts as of now; a copy."""
        return replace(self._counts, pending=len(self._buffer), pending_bytes=self._buffer.held_bytes)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._delivery.partitions

    async def send(
        self, frame: Frame, *, when_full: WhenFull | None = None, partition: int | None = None
    ) -> bool:
        """Put the frame into the buffer; `flush` says whether it arrived.

        With `block` this waits for room, for as long as Kafka needs. Returns False where the policy dropped
        this very frame. Frames of one camera arrive in the order of the calls; so they must, if a `partition`
        is given at all, have the same one. Without, the key says which: as all of Kafka's clients do it.

        Raises:
            RiverlensError: the topic has no such partition.
            FrameTooLargeError: the image exceeds `max_frame_bytes`, or what the broker turned out to take.
            UnreachableError: Kafka refuses us for good.
        """
        policy = when_full or self._when_full
        self._check(frame)
        if partition is not None and not 0 <= partition < self.partitions:
            raise RiverlensError(
                f"topic {self._topic!r} has no partition {partition}; it has {self.partitions}, from 0"
            )
        if policy == "block":
            await self._wait_for_room(frame)
        elif not self._buffer.has_room(frame):
            # A full buffer must not keep a sender that never waits from letting the client work.
            await asyncio.sleep(0)
        self._counts.sent += 1
        if not self._buffer.has_room(frame):
            evicted = self._buffer.evict_for(frame) if policy == "drop_oldest" else []
            for entry in evicted:
                self._count(entry.frame, Outcome.DROPPED)
            if not evicted:
                self._count(frame, Outcome.DROPPED)
                return False
        self._buffer.push(frame, droppable=policy != "block", partition=partition)
        self._delivery.changed.set()
        return True

    async def flush(self, *, timeout_s: float | None = None) -> None:
        """Wait until every frame sent so far has settled.

        Raises:
            DeliveryError: frames failed since the last flush, or `timeout_s` passed first.
            UnreachableError: Kafka refuses us for good.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._buffer) and self._delivery.fatal is None:
                    await self._delivery.change()
        except TimeoutError:
            raise DeliveryError(
                f"Kafka at {self._kafka.bootstrap_servers} did not acknowledge {len(self._buffer)} frames "
                f"within {timeout_s:.0f} s; they may be lost"
            ) from None
        if self._delivery.fatal is not None:
            raise self._delivery.fatal
        failures, self._failures = self._failures, 0
        if failures:
            raise DeliveryError(
                f"{failures} frames did not arrive on topic {self._topic!r}; the first: {self._first_failure}"
            )

    def _check(self, frame: Frame) -> None:
        if not self._open:
            raise RiverlensError("FrameProducer is not open: send within `async with`")
        if self._delivery.fatal is not None:
            raise self._delivery.fatal
        limit_bytes = self._delivery.max_frame_bytes
        if len(frame.image) > limit_bytes:
            raise FrameTooLargeError(
                f"a frame of camera {frame.camera_id!r} has {len(frame.image)} bytes, {limit_bytes} are "
                "allowed; make it smaller (--size, --quality), or raise the topic's max.message.bytes"
            )

    async def _wait_for_room(self, frame: Frame) -> None:
        if self._buffer.has_room(frame) and not self._turn.locked():
            return
        # In turn, or small frames would keep a large one waiting for ever.
        async with self._turn:
            while not self._buffer.has_room(frame):
                try:
                    async with asyncio.timeout(_WAIT_NOTICE_S):
                        await self._delivery.change()
                except TimeoutError:
                    _log.warning(
                        "%s: %d frames (%.1f MB) wait to be acknowledged; sending goes on when Kafka does",
                        self._kafka.bootstrap_servers,
                        len(self._buffer),
                        self._buffer.held_bytes / 1e6,
                    )
                if self._delivery.fatal is not None:
                    raise self._delivery.fatal

    def _count(self, frame: Frame, outcome: Outcome) -> None:
        self._counts.settled(len(frame.image), outcome)
        if self._on_settled is not None:
            self._on_settled(frame, outcome)

    def _settled(self, frame: Frame, outcome: Outcome, reason: str = "") -> None:
        self._first_failure = self._first_failure if self._failures else reason
        self._failures += outcome is Outcome.FAILED
        self._count(frame, outcome)
