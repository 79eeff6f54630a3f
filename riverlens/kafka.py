"""How every role reaches Kafka: one settings object, one set of client options."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from typing import Any, Literal, Self, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidSessionTimeoutError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from riverlens.errors import SettingsError, UnreachableError
from riverlens.kafka_probe import why_unreachable
from riverlens.kafka_refusals import missing_right

T = TypeVar("T")


class KafkaSettings(BaseModel):
    """Kafka: where it is and how to be let in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    bootstrap_servers: str = Field(default="127.0.0.1:9092", pattern=r"^[^\s,;]+:\d+(\s*,\s*[^\s,;]+:\d+)*$")
    """Brokers to ask first, as host:port, separated by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to speak to the brokers."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How to log in, with SASL_PLAINTEXT or SASL_SSL."""
    sasl_username: str | None = None
    """User, with SASL_PLAINTEXT or SASL_SSL."""
    sasl_password: SecretStr | None = None
    """Password of that user; better given by the environment than by a flag."""
    ssl_cafile: str | None = None
    """PEM file with the authority that signed the brokers' certificates; unset: the system's."""
    ssl_certfile: str | None = None
    """PEM file with our certificate, where the brokers ask for one."""
    ssl_keyfile: str | None = None
    """PEM file with its key."""
    ssl_key_password: SecretStr | None = None
    """Password of that key."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"{self.security_protocol} needs sasl_username and sasl_password")
        return self

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client.

        Raises:
            SettingsError: a certificate or key file cannot be used.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": 10_000,
            "retry_backoff_ms": 100,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            assert self.sasl_password is not None  # noqa: S101  # the validator saw to it; mypy cannot know
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile:
                secret = self.ssl_key_password
                context.load_cert_chain(
                    self.ssl_certfile, self.ssl_keyfile, secret.get_secret_value() if secret else None
                )
        except OSError as error:
            files = ", ".join(filter(None, (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)))
            raise SettingsError(
                f"kafka: certificate files cannot be used ({error}); "
                f"see kafka.ssl_cafile, ssl_certfile, ssl_keyfile: {files}"
            ) from None
        return context


async def connect(kafka: KafkaSettings, starting: Awaitable[T], *, timeout_s: float = 15.0) -> T:
    """Await an aiokafka client's `start()`; where it fails, ask the brokers one by one for the reason.

    Raises:
        UnreachableError: within `timeout_s` no broker answered, or it refused us; names the setting. Asking
            for the reason takes at most 10 s more.
        SettingsError: the brokers do not allow our session timeout.
    """
    where = kafka.bootstrap_servers
    try:
        async with asyncio.timeout(timeout_s):
            return await starting
    except TimeoutError:
        told = f"Kafka at {where} did not answer within {timeout_s:.0f} s; see kafka.bootstrap_servers"
        raise UnreachableError(await why_unreachable(kafka) or told) from None
    except KafkaConnectionError as error:
        told = (
            f"Kafka at {where} cannot be reached ({_reason(error)}); see kafka.bootstrap_servers, "
            "or start one: riverlens broker"
        )
        raise UnreachableError(await why_unreachable(kafka) or told) from None
    except InvalidSessionTimeoutError:
        raise SettingsError(
            f"session_timeout_ms: Kafka at {where} takes no such one; its group.min.session.timeout.ms (6000 "
            "unless somebody set it) and group.max.session.timeout.ms bound it"
        ) from None
    except KafkaError as error:
        raise refused(kafka, error) from None


def refused(kafka: KafkaSettings, error: KafkaError, operation: str = "Read|Write") -> UnreachableError:
    """What a person reads where Kafka answers that it will not serve us: above all, a missing ACL.

    `operation`: which one, where the error is about a topic.
    """
    told = missing_right(error, kafka.sasl_username, operation)
    if told is None:
        told = f"refused us ({_reason(error)}); see kafka.security_protocol, kafka.sasl_*"
    return UnreachableError(f"Kafka at {kafka.bootstrap_servers} {told}")


async def require_topic(client: AIOKafkaClient, kafka: KafkaSettings, topic: str, setting: str) -> None:
    """See that a topic is there and that we may see it; makes none. `setting` is what names it.

    Raises:
        UnreachableError: there is no such topic, or no right to see it.
        KafkaError: the broker asked did not answer.
    """
    # Asked by name: a list of all topics leaves out those that we may not see.
    request = MetadataRequest([topic], allow_auto_topic_creation=False)
    answer = await client.send(client.get_random_node(), request)
    error = for_code(answer.topics[0][0])
    if error is TopicAuthorizationFailedError:
        raise refused(kafka, error(topic), "Describe")
    if error in (UnknownTopicOrPartitionError, InvalidTopicError):
        where = kafka.bootstrap_servers
        raise UnreachableError(
            f"Kafka at {where} has no topic {topic!r} ({setting}); create it: riverlens topics "
            f"--bootstrap-servers {where}"
        )


def _reason(error: KafkaError) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
