"""Certificates, users and ACLs for a secured Kafka; certificates are made here, for each run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import tomli_w
import trustme
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from riverlens.broker import EmbeddedBroker
from riverlens.broker.ports import LOOPBACK
from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet

PREFIXED = 4
"""A resource name that stands for all that begin with it."""
_LITERAL = 3
_ALLOW = 3


class Resource(IntEnum):
    """Kafka's numbers for what an ACL is about."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """Kafka's numbers for what an ACL allows."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10
    IDEMPOTENT_WRITE = 12


@dataclass(frozen=True, slots=True)
class Acl:
    """One right; `prefixed`: on all names that begin with `name`."""

    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False


@dataclass(frozen=True, slots=True)
class PemFiles:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    @property
    def keystore(self) -> Path:
        """Both in one file, the key in PKCS 8: what Kafka takes."""
        return self.certificate.with_suffix(".keystore.pem")


class Authority:
    """A certificate authority of this run, and files of what it signs."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, hosts: Sequence[str] = (LOOPBACK,), *, expired: bool = False) -> PemFiles:
        """A certificate with common name `name`, for servers under `hosts` and for clients."""
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        issued = self._ca.issue_cert(
            *hosts,
            common_name=name,
            not_before=since - dt.timedelta(days=10),
            not_after=since if expired else since + dt.timedelta(days=30),
        )
        made = PemFiles(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        made.certificate.write_bytes(chain)
        made.key.write_bytes(pkcs8)
        made.keystore.write_bytes(pkcs8 + chain)
        return made


async def grant(bootstrap_servers: str, user: str, acls: Sequence[Acl]) -> None:
    """Give a user rights; `bootstrap_servers` is where a super user comes in."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    try:
        await client.bootstrap()
        for acl in acls:
            pattern = PREFIXED if acl.prefixed else _LITERAL
            request = CreateAclsRequest(
                acl.resource, acl.name, pattern, f"User:{user}", "*", acl.operation, _ALLOW
            )
            answer = await client.send(client.get_random_node(), request)
            assert [error for error, _ in answer.creation_responses] == [0], answer
    finally:
        await client.close()


async def revoke(bootstrap_servers: str, user: str) -> None:
    """Take all rights of a user away."""
    any_kind, any_operation = 1, 1
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
    try:
        await client.bootstrap()
        request = DeleteAclsRequest(any_kind, None, any_kind, f"User:{user}", None, any_operation, any_kind)
        answer = await client.send(client.get_random_node(), request)
        assert answer.filter_responses[0][0] == 0, answer
    finally:
        await client.close()


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """A Kafka with TLS, client certificates, logins and ACLs, all at once."""

    broker: EmbeddedBroker
    authority: Authority
    passwords: Mapping[str, str]

    @property
    def root(self) -> KafkaSettings:
        """By the plain port: a super user."""
        return KafkaSettings(bootstrap_servers=self.broker.bootstrap_servers)

    def login(self, user: str, **changed: Any) -> KafkaSettings:
        """As a user, over TLS, by SCRAM-SHA-512; `changed` by field of KafkaSettings."""
        fields = {
            "bootstrap_servers": self.broker.bootstrap_for("SASL_SSL"),
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user,
            "sasl_password": self.passwords.get(user, "none"),
            "ssl_cafile": str(self.authority.file),
        }
        return KafkaSettings(**{**fields, **changed})

    def certified(self, files: PemFiles | None, **changed: Any) -> KafkaSettings:
        """By the port for client certificates; None: without one."""
        fields = {
            "bootstrap_servers": self.broker.bootstrap_for("SSL"),
            "security_protocol": "SSL",
            "ssl_cafile": str(self.authority.file),
            "ssl_certfile": files and str(files.certificate),
            "ssl_keyfile": files and str(files.key),
        }
        return KafkaSettings(**{**fields, **changed})

    async def allow(self, user: str, *acls: Acl) -> None:
        """Give a user exactly these rights."""
        await revoke(self.broker.bootstrap_servers, user)
        await grant(self.broker.bootstrap_servers, user, acls)


def config_file(path: Path, kafka: KafkaSettings) -> Path:
    """A file for `--config` with all of these settings, passwords in the clear."""
    fields = kafka.model_dump(exclude_none=True)
    given = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in fields.items()
    }
    path.write_text(tomli_w.dumps({"kafka": given}), encoding="utf-8")
    return path


def worker_rights(topics: TopicSet) -> list[Acl]:
    """All that a worker needs, exactly-once delivery included."""
    return [
        Acl(Resource.TOPIC, topics.frames, Operation.READ),
        Acl(Resource.TOPIC, topics.events, Operation.WRITE),
        Acl(Resource.TOPIC, topics.dlq, Operation.WRITE),
        Acl(Resource.GROUP, topics.group, Operation.READ),
        Acl(Resource.TRANSACTIONAL_ID, f"{topics.group}-", Operation.WRITE, prefixed=True),
    ]


def ssl_config(folder: Path, server: PemFiles, authority: Authority, *, verify: bool) -> Path:
    """The model server's ssl_config_file; `verify`: clients must have a certificate of the authority."""
    texts = {
        "server_key": server.key.read_text(),
        "server_cert": server.certificate.read_text(),
        "custom_ca": authority.file.read_text(),
    }
    path = folder / f"ssl-{server.certificate.stem}-{verify}.config"
    lines = [f"{name}: {json.dumps(text)}\n" for name, text in texts.items()]
    path.write_text("".join(lines) + f"client_verify: {str(verify).lower()}\n")
    return path
