"""Moves a FrameBuffer's frames to Kafka, in order; owns the Kafka client and replaces a ruined one."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from riverlens.errors import UnreachableError
from riverlens.frame import Frame
from riverlens.frame_buffer import Entry, FrameBuffer
from riverlens.frame_client import open_client
from riverlens.kafka import KafkaSettings, connect
from riverlens.kafka_producer import Verdict, end_client, judge, silence
from riverlens.kafka_refusals import missing_right
from riverlens.trace_context import log_fields

_log = logging.getLogger(__name__)

_WINDOW_BYTES = 8 * 1024 * 1024  # in the client's hands at once; the rest can still be dropped
_RECONNECT_S = 1.0
_GRACE_S = 3.0


class Outcome(enum.Enum):
    """How a frame's journey ended."""

    ACKNOWLEDGED = "acknowledged"
    DROPPED = "dropped"
    FAILED = "failed"


class Delivery:
    """The lower half of a FrameProducer, which fills the buffer that this empties.

    Attributes:
        changed: set whenever a frame settled or `fatal` came up; waiters clear it.
        fatal: why no frame will arrive any more, or None.
        max_frame_bytes: falls below its first value when the broker turns out to take less.
        partitions: how many the topic has, once started.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        buffer: FrameBuffer,
        *,
        max_frame_bytes: int,
        on_settled: Callable[[Frame, Outcome, str], None],
    ) -> None:
        self.changed = asyncio.Event()
        self.fatal: BaseException | None = None
        self.max_frame_bytes = max_frame_bytes
        self.partitions = 0
        self._kafka = kafka
        self._topic = topic
        self._buffer = buffer
        self._on_settled = on_settled
        self._client: AIOKafkaProducer | None = None
        self._attempt = 0
        self._one_by_one = False
        self._rejected = 0
        self._client_frame_bytes = max_frame_bytes
        self._ruin: BaseException | None = None
        self._ruined = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin.

        Raises:
            UnreachableError: no broker answers, it refuses us, or it has no such topic.
        """
        self._client = await self._open_client()
        try:
            self.partitions = len(await connect(self._kafka, self._client.partitions_for(self._topic)))
        except BaseException:
            await self.close()
            raise
        self._running = asyncio.create_task(self._run(), name="frame-delivery")
        self._running.add_done_callback(self._run_ended)

    async def change(self) -> None:
        """Wait until a frame settles, arrives, or `fatal` comes up."""
        self.changed.clear()
        await self.changed.wait()

    async def close(self) -> None:
        """Disconnect; what is still in the buffer fails."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._client is not None:
            await end_client(self._client, grace_s=0 if len(self._buffer) else _GRACE_S)
            self._client = None
        self._attempt += 1
        for entry in self._buffer.clear():
            self._on_settled(entry.frame, Outcome.FAILED, "not acknowledged when the producer closed")
        self.changed.set()

    async def _run(self) -> None:
        while True:
            pumping = asyncio.create_task(self._pump())
            ruined = asyncio.create_task(self._ruined.wait())
            try:
                # A ruined client must not keep the pump waiting for room in its batches.
                await asyncio.wait({pumping, ruined}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pumping.cancel()
                ruined.cancel()
                await asyncio.wait({pumping, ruined})
            if not pumping.cancelled():
                pumping.result()
            await self._replace_client()

    async def _pump(self) -> None:
        while True:
            if entry := self._buffer.take(_WINDOW_BYTES):
                await self._hand_over(entry)
            else:
                await self.change()

    def _run_ended(self, running: asyncio.Task[None]) -> None:
        if not running.cancelled():
            self.fatal = running.exception()
            self.changed.set()

    async def _hand_over(self, entry: Entry) -> None:
        frame, attempt = entry.frame, self._attempt
        if len(frame.image) > self.max_frame_bytes:
            self._reject(entry, "the broker has rejected a smaller one")
            return
        while self._client is not None:
            try:
                delivery = await self._client.send(
                    self._topic,
                    value=frame.image,
                    key=frame.key(),
                    partition=entry.partition,
                    timestamp_ms=frame.captured_at_ms,
                    headers=frame.headers(),
                )
            except KafkaTimeoutError:
                continue  # the partition's last batch is still on its way: Kafka is slow, not gone
            except MessageSizeTooLargeError:
                self._reject(entry, "its headers are too large")
            except KafkaError as error:
                self._failed(entry, error)
            else:
                delivery.add_done_callback(partial(self._delivered, entry, attempt))
            return

    def _delivered(self, entry: Entry, attempt: int, delivery: asyncio.Future[object]) -> None:
        error = None if delivery.cancelled() else delivery.exception()
        if attempt != self._attempt:
            return  # its client was replaced: the frame has been queued again
        if error is not None:
            self._failed(entry, error)
        elif not delivery.cancelled() and delivery.result() is not None and self._buffer.settle(entry):
            self._on_settled(entry.frame, Outcome.ACKNOWLEDGED, "")
        self.changed.set()

    def _failed(self, entry: Entry, error: BaseException) -> None:
        verdict = judge(error)
        if verdict is Verdict.REFUSED:
            told = missing_right(error, self._kafka.sasl_username, "Write") or (
                f"refuses topic {self._topic!r} ({type(error).__name__}); see frames_topic"
            )
            self.fatal = self.fatal or UnreachableError(f"Kafka at {self._kafka.bootstrap_servers} {told}")
        # Of a batch's rejection nobody knows which frame is meant; of a single frame's one does.
        if verdict is Verdict.REJECTED and self._one_by_one:
            if isinstance(error, MessageSizeTooLargeError):
                self.max_frame_bytes = min(self.max_frame_bytes, len(entry.frame.image) - 1)
            self._reject(entry, type(error).__name__)
        if self._client is not None:
            silence(self._client)
        if self._ruin is None or verdict is Verdict.REJECTED:
            self._ruin = error
        self._ruined.set()
        self.changed.set()

    def _reject(self, entry: Entry, reason: str) -> None:
        if not self._buffer.settle(entry):
            return
        frame = entry.frame
        text = f"{reason} ({len(frame.image)} bytes, camera {frame.camera_id!r})"
        if not self._rejected:
            _log.warning(
                "Kafka rejected a frame: %s; see max.message.bytes of topic %s; others are only counted",
                text,
                self._topic,
                extra={
                    "camera": frame.camera_id,
                    "frame_id": frame.frame_id,
                    **log_fields(frame.traceparent),
                },
            )
        self._rejected += 1
        self._on_settled(frame, Outcome.FAILED, text)
        self.changed.set()

    async def _replace_client(self) -> None:
        """Open another client and send again, in order, what the ruined one had not delivered."""
        if self._client is not None:
            await end_client(self._client, grace_s=_GRACE_S)
            self._client = None
        self._one_by_one = self._one_by_one or judge(self._ruin) is Verdict.REJECTED
        self._attempt += 1
        again = self._buffer.requeue()
        _log.warning("a new Kafka client after %r: %d frames are sent again", self._ruin, again)
        while self._client is None:
            try:
                self._client = await self._open_client()
            except UnreachableError as error:
                _log.warning("%s; trying again", error)
                await asyncio.sleep(_RECONNECT_S)
        self._ruin = None
        self._ruined.clear()

    async def _open_client(self) -> AIOKafkaProducer:
        return await open_client(
            self._kafka, self._topic, max_frame_bytes=self._client_frame_bytes, one_by_one=self._one_by_one
        )
