"""Asks each broker by itself: aiokafka's clients only log why none of them would have us. Shell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from riverlens.kafka_refusals import Asked, explain

if TYPE_CHECKING:  # it imports this module
    from riverlens.kafka import KafkaSettings

_NOT_FOR_A_CONNECTION = ("bootstrap_servers", "retry_backoff_ms")


@dataclass(frozen=True, slots=True)
class Found:
    """What one address answered.

    Attributes:
        address: host:port.
        problem: why it cannot be used and which setting mends it; continues "Kafka at <address> ". Empty:
            it serves us.
        brokers: host:port of each broker of the cluster, as this one names them.
    """

    address: str
    problem: str = ""
    brokers: tuple[str, ...] = ()


async def probe(kafka: KafkaSettings, *, timeout_s: float = 5.0) -> list[Found]:
    """Connect to each of kafka.bootstrap_servers, log in and ask for the brokers; then to those brokers.

    All at once, so it takes at most twice `timeout_s`. No client stays open.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """
    options = kafka.client_options()
    first = [each.strip() for each in kafka.bootstrap_servers.split(",")]
    found = list(await asyncio.gather(*(_ask(kafka, options, each, timeout_s) for each in first)))
    named = {broker for each in found for broker in each.brokers} - set(first)
    found += await asyncio.gather(*(_ask(kafka, options, each, timeout_s) for each in sorted(named)))
    return found


async def why_unreachable(kafka: KafkaSettings) -> str | None:
    """One line about the first address that cannot be used; None where all serve us."""
    for found in await probe(kafka):
        if found.problem:
            return f"Kafka at {found.address} {found.problem}"
    return None


async def _ask(kafka: KafkaSettings, options: dict[str, Any], address: str, timeout_s: float) -> Found:
    host, _, port = address.rpartition(":")
    asked = Asked(
        host=host.strip("[]"),
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        timeout_s=timeout_s,
    )
    how = {name: value for name, value in options.items() if name not in _NOT_FOR_A_CONNECTION}
    connection: AIOKafkaConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            connection = await create_conn(asked.host, int(port), **how)
            asked = replace(asked, let_in=True)
            answer = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError) as error:
        return Found(address, explain(error, asked))
    finally:
        if connection is not None:
            connection.close()
    return Found(address, brokers=tuple(f"{broker[1]}:{broker[2]}" for broker in answer.brokers))
