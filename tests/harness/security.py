"""Certificates, users and ACLs for a secured Kafka; certificates are made here, for each run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import trustme
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from cryptography.hazmat.primitives import serialization

from riverlens.broker.ports import LOOPBACK

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

    def issue(
        self, name: str, hosts: Sequence[str] = (LOOPBACK, "localhost"), *, expired: bool = False
    ) -> PemFiles:
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
