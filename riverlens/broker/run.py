"""`riverlens broker`: Apache Kafka on this machine until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NoReturn

from pydantic import Field, SecretStr

from riverlens.broker.embedded import EmbeddedBroker
from riverlens.broker.jars import kafka_version
from riverlens.broker.security import BrokerSecurity
from riverlens.errors import SetupError
from riverlens.logs import LogFormat, LogLevel, set_up_logs
from riverlens.settings import Settings, load

_log = logging.getLogger(__name__)
_LOOK_S = 1.0


class BrokerSettings(Settings):
    """Apache Kafka on this machine, on the loopback address, until Ctrl-C or SIGTERM.

    Try:  riverlens broker
          riverlens broker --brokers 3 --data-dir kafka-data
    """

    table: ClassVar[str] = "broker"

    brokers: Literal[1, 3] = 1
    """How many; 3 replicate everything, as a real cluster does."""
    port: int = Field(default=9092, ge=0, le=65_533)
    """Port of the first broker, the others follow, then those with TLS or logins; 0 takes any free ones."""
    data_dir: Path | None = None
    """Folder that keeps topics and offsets over restarts; unset: a temporary one, removed at the end."""
    keystore: Path | None = None
    """PEM file with private key (PKCS 8, no password) and certificate chain; opens ports with TLS."""
    client_ca: Path | None = None
    """PEM file with the authority of clients' certificates; then TLS without login wants one (mTLS)."""
    users: dict[str, SecretStr] = Field(default_factory=dict)
    """Passwords by user, better given in the file (`[broker.users]`); opens ports with logins."""
    acls: bool = False
    """Whether users may do only what Kafka's ACLs allow them."""
    super_users: tuple[str, ...] = ()
    """Users who need no ACL; whoever comes by the plain port is one."""
    log_level: LogLevel = "info"
    """Least severe log line to print."""
    log_format: LogFormat = "text"
    """Log lines as text or as JSON."""

    def contradictions(self) -> list[str]:
        """As `BrokerSecurity` has it."""
        try:
            self.security()
        except ValueError as error:
            return [str(error)]
        return []

    def security(self) -> BrokerSecurity:
        """What of Kafka's security is switched on."""
        return BrokerSecurity(
            keystore=self.keystore and self.keystore.absolute(),
            client_ca=self.client_ca and self.client_ca.absolute(),
            users={name: secret.get_secret_value() for name, secret in self.users.items()},
            acls=self.acls,
            super_users=self.super_users,
        )


def main(argv: Sequence[str], prog: str = "riverlens broker") -> int:
    """Run until Ctrl-C or SIGTERM, then stop cleanly and return 0.

    Raises:
        SetupError: it cannot start, or a broker ended by itself.
    """
    settings = load(BrokerSettings, argv, prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with EmbeddedBroker(
            brokers=settings.brokers,
            port=settings.port or None,
            data_dir=settings.data_dir,
            security=settings.security(),
        ) as broker:
            sys.stdout.write(f"{broker.bootstrap_servers}\n")
            for listener in settings.security().listeners:
                sys.stdout.write(f"{listener} {broker.bootstrap_for(listener)}\n")
            sys.stdout.flush()
            where = settings.data_dir or "a temporary folder"
            _log.info("Apache Kafka %s is ready, data in %s; Ctrl-C stops it", kafka_version(), where)
            _watch(broker)
    except KeyboardInterrupt:
        _log.info("Kafka has stopped")
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> NoReturn:
    """As Ctrl-C; not through SIGINT, which a shell's background jobs ignore."""
    raise KeyboardInterrupt


def _watch(broker: EmbeddedBroker) -> NoReturn:
    """Return never: a signal raises KeyboardInterrupt here.

    Raises:
        SetupError: a broker has ended by itself.
    """
    everyone = broker.running
    while True:
        time.sleep(_LOOK_S)
        for number in everyone:
            if number not in broker.running:
                log = broker.log(number)
                raise SetupError(f"Kafka's broker {number} ended by itself; see its log, {log}")
