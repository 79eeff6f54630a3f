"""Puts frames back onto their topic, and says what Kafka holds for good. Shell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.frame_client import open_client
from riverlens.kafka_producer import TOO_LARGE, Verdict, end_client, judge, silence
from riverlens.kafka_refusals import missing_right
from riverlens_worker.redrive.letter import Letter, frame_headers
from riverlens_worker.redrive.settings import RedriveSettings

logger = logging.getLogger(__name__)

_ACKNOWLEDGE_S = 60.0
_GRACE_S = 3.0


@dataclass(slots=True)
class Sent:
    """How one chunk fared.

    Attributes:
        acknowledged: letters whose frames Kafka holds.
        refused: letters whose frames it will never take, and why.
        failure: why the rest was not taken; None where there is no rest.
    """

    acknowledged: list[Letter] = field(default_factory=list)
    refused: list[tuple[Letter, str]] = field(default_factory=list)
    failure: RiverlensError | None = None


class Writer:
    """An idempotent producer of frames; replaced when a rejected record has ruined it."""

    def __init__(self, settings: RedriveSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            UnreachableError: Kafka does not answer, refuses us, or has no such topic.
        """
        await self._open(one_by_one=False)

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await end_client(self._client, grace_s=_GRACE_S)
            self._client = None

    async def put_back(self, letters: Sequence[Letter]) -> Sent:
        """Send the letters' frames, in order, and wait for each to be acknowledged or not. Never raises."""
        sent = Sent()
        try:
            left = await self._send_all(letters, sent)
            if left:
                # Of a batch's rejection nobody knows which record is meant; alone, each shows itself.
                await self._one_by_one(left, sent)
        except (UnreachableError, KafkaError, TimeoutError) as error:
            sent.failure = error if isinstance(error, RiverlensError) else self._unreachable(error)
        return sent

    async def _send_all(self, letters: Sequence[Letter], sent: Sent) -> list[Letter]:
        """Send them together; returns those to send again after a rejection."""
        futures: list[tuple[Letter, asyncio.Future[Any]]] = []
        for letter in letters:
            try:
                futures.append((letter, await self._send(letter)))
            except TOO_LARGE as error:
                sent.refused.append((letter, _why(error)))
        async with asyncio.timeout(_ACKNOWLEDGE_S):
            results = await asyncio.gather(*(future for _, future in futures), return_exceptions=True)
        left, errors = [], []
        for (letter, _), result in zip(futures, results, strict=True):
            if isinstance(result, BaseException) or result is None:
                left.append(letter)
                errors.append(result)
            else:
                sent.acknowledged.append(letter)
        verdicts = [judge(error) for error in errors]
        if left and Verdict.REJECTED not in verdicts:
            worst = verdicts.index(Verdict.REFUSED) if Verdict.REFUSED in verdicts else 0
            sent.failure = self._unreachable(errors[worst])
            return []
        return left

    async def _one_by_one(self, letters: Sequence[Letter], sent: Sent) -> None:
        await self._open(one_by_one=True)
        for letter in letters:
            try:
                async with asyncio.timeout(_ACKNOWLEDGE_S):
                    await (await self._send(letter))
            except KafkaError as error:
                if judge(error) is not Verdict.REJECTED:
                    raise
                sent.refused.append((letter, _why(error)))
                await self._open(one_by_one=True)
            else:
                sent.acknowledged.append(letter)

    async def _send(self, letter: Letter) -> asyncio.Future[Any]:
        """Hand one frame over; the time of writing becomes its timestamp."""
        client, topic = self._client, self._settings.frames_topic
        assert client is not None  # noqa: S101  # started; mypy cannot know
        headers = frame_headers(letter)
        there = await client.partitions_for(topic)
        partition = letter.origin.partition if letter.origin.partition in there else None
        future: asyncio.Future[Any]
        if letter.key is None and letter.value is None:
            # aiokafka's send() takes no record without both.
            batch = client.create_batch()
            batch.append(key=None, value=None, timestamp=None, headers=headers)
            future = await client.send_batch(
                batch, topic, partition=min(there) if partition is None else partition
            )
        else:
            future = await client.send(
                topic, letter.value, key=letter.key, headers=headers, partition=partition
            )
        future.add_done_callback(lambda done: self._silence_after_failure(client, done))
        return future

    def _silence_after_failure(self, client: AIOKafkaProducer, done: asyncio.Future[Any]) -> None:
        # Or the partition's next batch would pass the one that failed.
        if not done.cancelled() and done.exception() is not None:
            silence(client)

    async def _open(self, *, one_by_one: bool) -> None:
        await self.close()
        settings = self._settings
        self._client = await open_client(
            settings.kafka,
            settings.frames_topic,
            max_frame_bytes=settings.max_frame_bytes,
            one_by_one=one_by_one,
        )

    def _unreachable(self, error: BaseException | None) -> UnreachableError:
        told = missing_right(error, self._settings.kafka.sasl_username, "Write") if error else None
        if told is None:
            told = f"did not take a frame ({error!r}); start again: what was put back is remembered"
        return UnreachableError(f"Kafka at {self._settings.kafka.bootstrap_servers} {told}")


def _why(error: BaseException) -> str:
    if isinstance(error, TOO_LARGE):
        return "too large; see max_frame_bytes and max.message.bytes of the topic"
    return type(error).__name__
