"""What the consumer group says of this member, asked past aiokafka's own readings of it.

aiokafka 0.14 has no public call for either question, and misreads the answers: of a committed offset it
overlooks the error that stands for the whole reply (a coordinator that moves reads as "nothing committed",
and the partition is read from its beginning), and a heartbeat's unexpected error ends its task for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import aiokafka.errors
from aiokafka import TopicPartition
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotCoordinatorError,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import HeartbeatRequest

logger = logging.getLogger(__name__)

_MOVING = (NotCoordinatorError, CoordinatorNotAvailableError)
_AGAIN_S = 0.05
_NO_OFFSET = -1


class Group:
    """The consumer's group, through its coordinator."""

    def __init__(self, consumer: Any, group_id: str) -> None:
        self._consumer = consumer
        self._group_id = group_id

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The committed offset of each partition, None where there is none; asked until the group answers.

        Raises:
            KafkaError: the group refuses: no access, or an error that does not pass.
        """
        topics: dict[str, list[int]] = defaultdict(list)
        for tp in partitions:
            topics[tp.topic].append(tp.partition)
        request = OffsetFetchRequest(self._group_id, list(topics.items()))
        while True:
            try:
                reply = await self._ask(request)
                found = {
                    TopicPartition(topic, number): self._offset(offset, error_code)
                    for topic, answers in reply.topics
                    for number, offset, _, error_code in answers
                }
                return {tp: found[tp] for tp in partitions}
            except KafkaError as error:
                if not error.retriable:
                    raise
                logger.debug("the group does not tell its offsets yet: %r", error)
                await asyncio.sleep(_AGAIN_S)

    async def is_member(self) -> bool:
        """Whether the group still counts this member among its own, by a heartbeat of its own.

        Raises:
            KafkaError: it does not answer, or not now.
        """
        coordinator = self._coordinator
        member_id, generation = coordinator.member_id, coordinator.generation
        if not member_id:
            return False
        reply = await self._send(HeartbeatRequest(self._group_id, generation, member_id))
        error = aiokafka.errors.for_code(reply.error_code)
        if error in (aiokafka.errors.NoError, aiokafka.errors.RebalanceInProgressError):
            return True
        if error in (aiokafka.errors.IllegalGenerationError, aiokafka.errors.UnknownMemberIdError):
            return False
        raise self._judged(reply.error_code)

    @property
    def ended(self) -> bool:
        """Whether aiokafka's coordination has ended, by an error that it did not know: it joins no more."""
        task: asyncio.Task[None] = self._coordinator._coordination_task  # noqa: SLF001  # as below
        return task.done()

    def rejoin(self) -> None:
        """Make the consumer join anew, whatever state its coordination is in."""
        self._coordinator.reset_generation()

    async def _ask(self, request: Any) -> Any:
        reply = await self._send(request)
        if reply.error_code:
            raise self._judged(reply.error_code)
        return reply

    async def _send(self, request: Any) -> Any:
        await self._coordinator.ensure_coordinator_known()
        return await self._coordinator._send_req(request)  # noqa: SLF001  # no public call; see the module's text

    def _offset(self, offset: int, error_code: int) -> int | None:
        if error_code:
            raise self._judged(error_code)
        return None if offset == _NO_OFFSET else offset

    def _judged(self, error_code: int) -> KafkaError:
        """The code as an exception; after a coordinator that moved, the next question finds the new one."""
        kind = aiokafka.errors.for_code(error_code)
        if kind in _MOVING:
            self._coordinator.coordinator_dead()
        if kind is GroupAuthorizationFailedError:
            return GroupAuthorizationFailedError(self._group_id)
        error: KafkaError = kind()
        return error

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator  # noqa: SLF001  # no public way; see the module's text
