"""What Kafka shows of itself: brokers, topics, rights, the group, transactions. Shell; changes nothing.

Two requests leave a trace: asking to join the group gets a member id, given back at once, and with
exactly-once a transactional id `<group>-<frames_topic>-check` is registered, which Kafka forgets in a week.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from riverlens.errors import RiverlensError
from riverlens.kafka import connect
from riverlens.kafka_probe import probe
from riverlens.kafka_refusals import missing_right
from riverlens_worker.check import requests
from riverlens_worker.check.clock import ask_clock
from riverlens_worker.check.facts import Group, Kafka, Partition, Presence, Topic
from riverlens_worker.check.records import look_at_frames
from riverlens_worker.settings import WorkerSettings

T = TypeVar("T")

TOPIC_SETTINGS = ("frames_topic", "events_topic", "dlq_topic")
_STEP_S = 10.0
_AGAIN_S = 0.1
_TOPIC, _BROKER = 2, 4
_GROUP_COORDINATOR, _TRANSACTION_COORDINATOR = 0, 1
_MEMBER_ID_REQUIRED = 79
_PASSING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
_SESSION_BOUNDS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")


def _code(answer: Any) -> int:
    return int(answer.error_code)


async def look_at_kafka(settings: WorkerSettings) -> Kafka:
    """Everything that Kafka shows; what cannot be looked at stands in `failures`."""
    found = await probe(settings.kafka)
    addresses = {each.address: each.problem for each in found}
    if all(addresses.values()):
        return Kafka(addresses)
    client = AIOKafkaClient(**settings.kafka.client_options())
    try:
        await connect(settings.kafka, client.bootstrap())
        return await _Look(settings, client).everything(addresses)
    except RiverlensError as error:
        return Kafka(addresses, failures=(("Kafka", str(error)),))
    finally:
        await client.close()


class _Look:
    """One look around. Each step by itself: what fails is written down."""

    def __init__(self, settings: WorkerSettings, client: AIOKafkaClient) -> None:
        self._settings = settings
        self._client = client
        self._failures: list[tuple[str, str]] = []

    async def everything(self, addresses: dict[str, str]) -> Kafka:
        settings = self._settings
        brokers, topics = await self._step("topics", self._topics()) or (0, ())
        group = await self._step(f"group {settings.group_id}", self._group())
        partitions: dict[int, Partition] = {}
        frames = next((topic for topic in topics if topic.setting == "frames_topic"), None)
        if frames is not None and frames.presence is Presence.THERE and not frames.leaderless:
            committed = {} if group is None or group.refused else await self._committed(frames.partitions)
            looking = look_at_frames(settings, frames.partitions, committed)
            partitions = await self._step(f"frames on {frames.name}", looking) or {}
        now_ms = int(time.time() * 1000)
        refused = None
        if settings.exactly_once:
            refused = await self._step("transactions", self._transactions_refused())
        clock = await ask_clock(self._client)
        return Kafka(
            addresses, brokers, topics, group, partitions, clock, refused, tuple(self._failures), now_ms
        )

    async def _step(self, what: str, looking: Awaitable[T], *, needed: bool = True) -> T | None:
        """The step's result; None where it failed, which is told where it is needed."""
        try:
            async with asyncio.timeout(_STEP_S):
                return await looking
        except (KafkaError, OSError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            late = f"no answer within {_STEP_S:.0f} s" if isinstance(error, TimeoutError) else text
            if needed:
                self._failures.append((what, late))
            return None

    async def _send(self, request: Any, node: int | None = None) -> Any:
        chosen = self._client.get_random_node() if node is None else node
        return await self._client.send(chosen, request)

    async def _topics(self) -> tuple[int, tuple[Topic, ...]]:
        names = {getattr(self._settings, setting): setting for setting in TOPIC_SETTINGS}
        answer = await self._send(requests.metadata(list(names)))
        found = [_topic(described, names[described[1]]) for described in answer.topics]
        there = [topic.name for topic in found if topic.presence is Presence.THERE]
        configs = await self._step("topic configuration", self._configs(_TOPIC, there)) or {}
        found.sort(key=lambda topic: TOPIC_SETTINGS.index(topic.setting))
        return len(answer.brokers), tuple(_with_configs(topic, configs.get(topic.name)) for topic in found)

    async def _configs(
        self, kind: int, names: list[str], node: int | None = None
    ) -> dict[str, dict[str, str]]:
        """Configuration by resource; left out are those that we may not read."""
        if not names:
            return {}
        answer = await self._send(DescribeConfigsRequest([(kind, name, None) for name in names]), node)
        return {
            resource[3]: {entry[0]: entry[1] for entry in resource[4]}
            for resource in answer.resources
            if resource[0] == 0
        }

    async def _ask(self, kind: int, key: str, request: Any, code: Callable[[Any], int] = _code) -> Any:
        """Ask the coordinator of a group or a transactional id; returns its answer.

        Asked again while it moves, or a cluster that has just started still loads it.

        Raises:
            KafkaError: an error that does not pass.
        """
        while True:
            try:
                node = await self._client.coordinator_lookup(kind, key)
                answer = await self._send(request, node)
                _raise_for(code(answer), key, only=_PASSING)
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return answer

    async def _group(self) -> Group:
        settings, name = self._settings, self._settings.group_id
        try:
            asked = requests.describe_group(name)
            answer = await self._ask(_GROUP_COORDINATOR, name, asked, lambda told: int(told.groups[0][0]))
            described = answer.groups[0]
            _raise_for(described[0], name)
            joining = await self._join()
        except GroupAuthorizationFailedError:
            error = GroupAuthorizationFailedError(name)
            return Group(refused=missing_right(error, settings.kafka.sasl_username) or "")
        bounds = await self._session_bounds() if joining == "InvalidSessionTimeoutError" else None
        transactional = await self._step("transactional ids", self._transactional_ids(), needed=False)
        return Group("", joining, bounds, described[2], len(described[5]), transactional)

    async def _join(self) -> str:
        """The name of the error that joining the group ends with; "" where it would succeed."""
        settings = self._settings
        request = requests.join_group(
            settings.group_id, settings.session_timeout_ms, settings.rebalance_timeout_ms
        )
        answer = await self._ask(_GROUP_COORDINATOR, settings.group_id, request)
        if answer.error_code == _MEMBER_ID_REQUIRED:
            leaving = LeaveGroupRequest(settings.group_id, answer.member_id)
            await self._ask(_GROUP_COORDINATOR, settings.group_id, leaving)
            return ""
        _raise_for(answer.error_code, settings.group_id, only=(GroupAuthorizationFailedError,))
        return "" if answer.error_code == 0 else for_code(answer.error_code).__name__

    async def _session_bounds(self) -> tuple[int, int] | None:
        node = self._client.get_random_node()
        configs = (await self._configs(_BROKER, [str(node)], node)).get(str(node), {})
        if not all(name in configs for name in _SESSION_BOUNDS):
            return None
        lowest, highest = (int(configs[name]) for name in _SESSION_BOUNDS)
        return lowest, highest

    async def _transactional_ids(self) -> int:
        """How many partitions of the group's input have a transactional id, as far as we may see them."""
        stem = f"{self._settings.group_id}-{self._settings.frames_topic}-"
        found = 0
        for broker in self._client.cluster.brokers():
            answer = await self._send(requests.list_transactions(), broker.nodeId)
            names = [state[0] for state in answer.transaction_states]
            found += sum(name.startswith(stem) and name[len(stem) :].isdecimal() for name in names)
        return found

    async def _committed(self, partitions: int) -> dict[int, int]:
        """Offsets that the group has committed, by partition."""
        asking = self._offsets(partitions)
        return await self._step("committed offsets", asking) or {}

    async def _offsets(self, partitions: int) -> dict[int, int]:
        settings = self._settings
        wanted = [(settings.frames_topic, list(range(partitions)))]
        request = OffsetFetchRequest(settings.group_id, wanted)
        answer = await self._ask(_GROUP_COORDINATOR, settings.group_id, request)
        _raise_for(answer.error_code, settings.group_id)
        return {
            number: offset
            for _, offsets in answer.topics
            for number, offset, _, code in offsets
            if code == 0 and offset >= 0
        }

    async def _transactions_refused(self) -> str:
        """Why this user may not use the worker's transactional ids or timeouts; "" where it may."""
        settings = self._settings
        name = f"{settings.group_id}-{settings.frames_topic}-check"
        try:
            request = InitProducerIdRequest(name, settings.transaction_timeout_ms)
            answer = await self._ask(_TRANSACTION_COORDINATOR, name, request)
            _raise_for(answer.error_code, name)
        except TransactionalIdAuthorizationFailed:
            error = TransactionalIdAuthorizationFailed(name)
            return missing_right(error, settings.kafka.sasl_username) or ""
        except KafkaError as error:
            return f"refuses transactions ({type(error).__name__}); see transaction_timeout_ms"
        return ""


def _raise_for(code: int, name: str, *, only: tuple[type[KafkaError], ...] = (KafkaError,)) -> None:
    kind = for_code(code)
    if code and issubclass(kind, only):
        raise kind(name)


def _topic(described: Any, setting: str) -> Topic:
    code, name, _, partitions, rights = described
    if code:
        hidden = for_code(code) is TopicAuthorizationFailedError
        return Topic(name, setting, Presence.HIDDEN if hidden else Presence.MISSING)
    return Topic(
        name,
        setting,
        Presence.THERE,
        partitions=len(partitions),
        replication=min(len(partition[4]) for partition in partitions),
        in_sync=min(len(partition[5]) for partition in partitions),
        leaderless=sum(partition[2] < 0 for partition in partitions),
        rights=max(rights, 0),
    )


def _with_configs(topic: Topic, configs: dict[str, str] | None) -> Topic:
    return replace(topic, configs=configs)
