"""When a new cluster may be used: every broker answers, knows the others, and coordinates groups."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from riverlens.broker.ports import LOOPBACK
from riverlens.broker.properties import COORDINATOR_PARTITIONS

_log = logging.getLogger(__name__)

_PAUSE_S = 0.05
_REQUEST_TIMEOUT_MS = 5_000
# One group for each partition of __consumer_offsets: Java's hash of one letter is its code.
_GROUPS = [chr(ord("a") + number) for number in range(COORDINATOR_PARTITIONS)]


async def wait_until_ready(ports: Sequence[int], check_alive: Callable[[], None]) -> None:
    """Return when the brokers on these loopback ports serve clients, groups and transactions.

    `check_alive` is called between attempts and raises where waiting is in vain. The caller bounds the
    time. Asking for a coordinator also makes `__consumer_offsets` and `__transaction_state`.
    """
    for port in ports:
        await _listening(port, check_alive)
    for port in ports:
        await _knows_all(port, len(ports), check_alive)
    await _coordinates(ports[0], check_alive)


async def _listening(port: int, check_alive: Callable[[], None]) -> None:
    """Wait for the port alone first: aiokafka logs an error for every refused connection."""
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            check_alive()
            await asyncio.sleep(_PAUSE_S)
            continue
        writer.close()
        await writer.wait_closed()
        return


async def _knows_all(port: int, count: int, check_alive: Callable[[], None]) -> None:
    while True:
        try:
            async with _client(port) as client:
                if len(client.cluster.brokers()) >= count:
                    return
        except (KafkaError, OSError) as error:
            _log.debug("broker on port %s is not ready: %r", port, error)
        check_alive()
        await asyncio.sleep(_PAUSE_S)


async def _coordinates(port: int, check_alive: Callable[[], None]) -> None:
    """Ask on one connection: GroupCoordinatorNotAvailable (15) and its like are the usual first answers."""
    while True:
        try:
            async with _client(port) as client:
                while not await _coordinators_answer(client):
                    check_alive()
                    await asyncio.sleep(_PAUSE_S)
                return
        except (KafkaError, OSError) as error:
            _log.debug("no coordinators yet on port %s: %r", port, error)
        check_alive()
        await asyncio.sleep(_PAUSE_S)


async def _coordinators_answer(client: AIOKafkaClient) -> bool:
    """Whether every partition of `__consumer_offsets` is loaded, and transactions have a coordinator."""
    anyone = client.get_random_node()
    for group in _GROUPS:
        found = await client.send(anyone, FindCoordinatorRequest(group, CoordinationType.GROUP))
        if found.error_code:
            return False
        # A group's first partition may load while others are ready; only its own answer tells.
        offsets = await client.send(found.coordinator_id, OffsetFetchRequest(group, None))
        if offsets.error_code:
            return False
    found = await client.send(anyone, FindCoordinatorRequest("a", CoordinationType.TRANSACTION))
    return not found.error_code


@asynccontextmanager
async def _client(port: int) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(
        bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=_REQUEST_TIMEOUT_MS, retry_backoff_ms=20
    )
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()
