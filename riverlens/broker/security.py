"""TLS, logins and rights of the embedded Kafka, as what its own programs are told. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
"""How a user may log in where there are users."""
_ANONYMOUS = "ANONYMOUS"
_ITERATIONS = 4096
_MODULE = "org.apache.kafka.common.security"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PASSWORD = re.compile(r'[^\x00-\x1f"\\]+')
_SCRAM_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSecurity:
    """What of Kafka's security is switched on. The plain listener stays, for the brokers among themselves.

    Whoever comes in by it is the user ANONYMOUS, and with `acls` a super user: it is the way for who
    administers this Kafka on this machine.

    Args:
        keystore: PEM file with the brokers' private key (PKCS 8, no password) and certificate chain: opens a
            listener with TLS.
        client_ca: PEM file with the authority of clients' certificates: on the listener SSL each client
            must show one; its common name is the user.
        users: passwords by user name: opens a listener with logins by each of `MECHANISMS`.
        acls: nobody may do anything that no ACL allows.
        super_users: who needs no ACL.

    Raises:
        ValueError: ACLs without logins or client certificates; a client_ca without keystore; a name or a
            password that Kafka's configuration cannot hold. Never shows a password.
    """

    keystore: Path | None = None
    client_ca: Path | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    acls: bool = False
    super_users: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.client_ca and not self.keystore:
            raise ValueError("client_ca needs a keystore: only TLS knows certificates of clients")
        if self.acls and not (self.users or self.client_ca):
            raise ValueError("acls need users or client_ca: nobody could be told from anybody else")
        for name, password in self.users.items():
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"users: {name!r}: a name has only letters, digits, dot, dash and underscore"
                )
            if not _PASSWORD.fullmatch(password):
                raise ValueError(f"users: the password of {name!r} is empty or holds a quote or a backslash")

    @property
    def listeners(self) -> tuple[str, ...]:
        """The listeners that this opens beside the plain one, by security protocol."""
        logins = ("SASL_SSL" if self.keystore else "SASL_PLAINTEXT",) if self.users else ()
        # Without users or certificates of clients, TLS lets anybody in; beside logins it must not.
        certificates = ("SSL",) if self.keystore and (self.client_ca or not self.users) else ()
        return (*logins, *certificates)

    def properties(self) -> dict[str, str]:
        """Server properties, passwords among them: for a file that only its owner can read."""
        made: dict[str, str] = {}
        if self.keystore:
            made |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.keystore)}
        if self.client_ca:
            made |= {
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.client_ca),
                "listener.name.ssl.ssl.client.auth": "required",
                "ssl.principal.mapping.rules": "RULE:^.*?CN=([^,]+).*$/$1/,DEFAULT",
            }
        if self.users:
            made |= self._login_properties()
        if self.acls:
            everyone = (_ANONYMOUS, *self.super_users)
            made |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": ";".join(f"User:{name}" for name in everyone),
            }
        return made

    def _login_properties(self) -> dict[str, str]:
        prefix = f"listener.name.{self.listeners[0].lower()}"
        plain = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        made = {
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            f"{prefix}.plain.sasl.jaas.config": f"{_MODULE}.plain.PlainLoginModule required {plain};",
        }
        for mechanism in _SCRAM_HASHES:
            name = f"{prefix}.{mechanism.lower()}.sasl.jaas.config"
            made[name] = f"{_MODULE}.scram.ScramLoginModule required;"
        return made

    def scram_credentials(self, salt: bytes) -> list[str]:
        """Arguments of Kafka's storage tool: what proves a password (RFC 5802), not the password.

        The tool writes them once, when the storage is formatted.
        """
        made = []
        for mechanism, algorithm in _SCRAM_HASHES.items():
            for name, password in self.users.items():
                own_salt = hmac.digest(salt, f"{mechanism} {name}".encode(), "sha256")
                salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), own_salt, _ITERATIONS)
                made.append(
                    f'{mechanism}=[name={name},iterations={_ITERATIONS},salt="{_base64(own_salt)}",'
                    f'saltedpassword="{_base64(salted)}"]'
                )
        return made


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
