"""What a failed connection or a refused request tells a person; causes that tests cannot all bring about."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from riverlens.kafka_refusals import Asked, explain, missing_right

PLAIN = Asked("kafka", "PLAINTEXT", "PLAIN", None, None, None, 5.0)
TLS = replace(PLAIN, security_protocol="SSL")
LOGIN = replace(PLAIN, security_protocol="SASL_SSL", sasl_username="eve")
CERTIFIED = replace(TLS, ssl_certfile="me.pem")


def _closed(cause: BaseException) -> KafkaConnectionError:
    error = KafkaConnectionError("Connection at kafka:9092 closed")
    error.__cause__ = cause
    return error


def _ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def _unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "because"
    return error


@pytest.mark.parametrize(
    ("error", "asked", "told"),
    [
        (_unverified(9), TLS, "not valid yet: see this machine's clock"),
        (_unverified(10), TLS, "has expired"),
        (_unverified(62), TLS, "not for 'kafka': name it in kafka.bootstrap_servers"),
        (_unverified(19), TLS, "see kafka.ssl_cafile (unset: the system's authorities): because"),
        (_closed(_ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")), TLS, "kafka.ssl_certfile and"),
        (_closed(_ssl_error("SSLV3_ALERT_HANDSHAKE_FAILURE")), TLS, "kafka.ssl_certfile and"),
        (
            _closed(_ssl_error("TLSV1_ALERT_UNKNOWN_CA")),
            CERTIFIED,
            "our certificate (TLSV1_ALERT_UNKNOWN_CA)",
        ),
        (_ssl_error("WRONG_VERSION_NUMBER"), TLS, "(SSL; it may be PLAINTEXT)"),
        (_ssl_error("RECORD_LAYER_FAILURE"), LOGIN, "(SASL_SSL; it may be SASL_PLAINTEXT)"),
        (_ssl_error("NO_PROTOCOLS_AVAILABLE"), TLS, "broke off TLS (NO_PROTOCOLS_AVAILABLE); see kafka.ssl_"),
        (ConnectionResetError(), LOGIN, "does not speak TLS on this port"),
        (ConnectionResetError(), PLAIN, "cannot be reached (ConnectionResetError); see kafka.bootstrap"),
        (TimeoutError(), PLAIN, "did not answer within 5 s; see kafka.bootstrap_servers"),
        (socket.gaierror(-2, "Name or service not known"), PLAIN, "a host name that nobody knows"),
        (_closed(asyncio.IncompleteReadError(b"", 0x15030300)), PLAIN, "it may be SSL or SASL_SSL"),
        (_closed(asyncio.IncompleteReadError(b"", 4)), PLAIN, "cannot be reached (KafkaConnectionError"),
        (_closed(asyncio.IncompleteReadError(b"", 4)), replace(PLAIN, let_in=True), "wants a login"),
    ],
)
def test_a_failed_connection_names_its_setting(error: BaseException, asked: Asked, told: str) -> None:
    """One line for each cause, whatever OpenSSL of this Python calls it."""
    text = explain(error, asked)
    assert told in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TopicAuthorizationFailedError("frames"), "use topic 'frames'"),
        (TopicAuthorizationFailedError({"frames"}), "--operation Read|Write --topic frames"),
        (GroupAuthorizationFailedError("riverlens"), "--operation Read --group riverlens"),
        (TransactionalIdAuthorizationFailed("g-frames-0"), "--transactional-id g-frames- --resource-pattern"),
        (ClusterAuthorizationFailedError(), "write to any topic"),
    ],
)
def test_a_missing_right_comes_with_its_command(error: BaseException, told: str) -> None:
    """For users by name, and for those whom a certificate names."""
    by_name = missing_right(error, "eve") or ""
    assert told in by_name
    assert "--allow-principal User:eve " in by_name
    assert "kafka.ssl_certfile" in (missing_right(error, None) or "")


def test_other_errors_miss_no_right() -> None:
    """A timeout is no question of rights."""
    assert missing_right(KafkaTimeoutError(), "eve") is None
