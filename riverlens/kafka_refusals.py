"""What a failed connection to Kafka says about the settings: one clear text for each cause. Pure.

Which error stands for which cause was found by running aiokafka 0.14 against Kafka 4.1.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

_TLS_ALERT = 0x1503
"""First bytes of a TLS alert, which a client without TLS takes for the length of an answer."""
_EXPIRED, _NOT_YET_VALID = 10, 9
_HOST_MISMATCH = frozenset({62, 64})
_OTHER_PORT = "or kafka.bootstrap_servers names another of its ports"


@dataclass(frozen=True, slots=True)
class Asked:
    """How we asked: what of the settings an explanation needs. No secret."""

    host: str
    security_protocol: str
    sasl_mechanism: str
    sasl_username: str | None
    ssl_cafile: str | None
    ssl_certfile: str | None
    timeout_s: float
    let_in: bool = False
    """Whether the connection stood, and login was done where there is one."""

    @property
    def tls(self) -> bool:
        """Whether we spoke TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def with_login(self) -> bool:
        """Whether we logged in."""
        return self.security_protocol.startswith("SASL")


def explain(error: BaseException, asked: Asked) -> str:
    """Why Kafka at one address cannot be used, and the setting that mends it; continues "Kafka at X "."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _its_certificate(error, asked)
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else error
    if isinstance(cause, ssl.SSLError):
        return _tls(cause, asked)
    login = _login(error, asked)
    return login or _connection(error, cause, asked)


def missing_right(error: BaseException, user: str | None, operation: str = "Read|Write") -> str | None:
    """Which right an authorization error misses, and how it is given; None for other errors.

    Continues "Kafka at X ". `user` is kafka.sasl_username; None where a certificate, or nothing, says who
    we are. `operation`: what on the topic, where the caller knows.
    """
    names = ", ".join(str(each) for arg in error.args for each in (arg if _is_many(arg) else (arg,)))
    if isinstance(error, TopicAuthorizationFailedError):
        return _refusal(user, f"use topic {names!r}", f"--operation {operation} --topic {names}")
    if isinstance(error, GroupAuthorizationFailedError):
        what = f"be in the consumer group {names!r} (group_id)"
        return _refusal(user, what, f"--operation Read --group {names}")
    if isinstance(error, TransactionalIdAuthorizationFailed):
        what = f"use the transactional id {names!r} (group_id, topic and partition)"
        prefix = f"{names.rpartition('-')[0]}-"
        return _refusal(
            user,
            what,
            f"--operation Write --transactional-id {prefix} --resource-pattern-type prefixed",
        )
    if isinstance(error, ClusterAuthorizationFailedError):
        return _refusal(user, "write to any topic", "--operation Write --topic <topic>")
    return None


def _refusal(user: str | None, what: str, right: str) -> str:
    who, name = (f"user {user!r}", user) if user else ("us", "<us>")
    see = "kafka.sasl_username" if user else "kafka.ssl_certfile"
    return (
        f"does not let {who} {what}; see {see}, or give the right: "
        f"kafka-acls --add --allow-principal User:{name} {right}"
    )


def _is_many(value: object) -> bool:
    return isinstance(value, (set, frozenset, list, tuple))


def _its_certificate(error: ssl.SSLCertVerificationError, asked: Asked) -> str:
    if error.verify_code == _EXPIRED:
        return "shows a certificate that has expired: renew it there (or set this machine's clock)"
    if error.verify_code == _NOT_YET_VALID:
        return "shows a certificate that is not valid yet: see this machine's clock, or the certificate"
    if error.verify_code in _HOST_MISMATCH:
        return (
            f"shows a certificate that is not for {asked.host!r}: name it in kafka.bootstrap_servers "
            "(its advertised.listeners) as the certificate does, or add this name to the certificate"
        )
    known = asked.ssl_cafile or "unset: the system's authorities"
    return (
        "shows a certificate of an authority that we do not know; "
        f"see kafka.ssl_cafile ({known}): {error.verify_message}"
    )


def _tls(error: ssl.SSLError, asked: Asked) -> str:
    reason = error.reason or str(error)
    if "VERSION" in reason or "RECORD" in reason or isinstance(error, ssl.SSLEOFError):
        return _no_tls(asked)
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "HANDSHAKE" in reason:
        if not asked.ssl_certfile:
            return "wants a client's certificate; see kafka.ssl_certfile and kafka.ssl_keyfile"
        return f"does not accept our certificate ({reason}); see kafka.ssl_certfile ({asked.ssl_certfile})"
    return f"broke off TLS ({reason}); see kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile"


def _no_tls(asked: Asked) -> str:
    other = "SASL_PLAINTEXT" if asked.with_login else "PLAINTEXT"
    return (
        "does not speak TLS on this port; "
        f"see kafka.security_protocol ({asked.security_protocol}; it may be {other}), {_OTHER_PORT}"
    )


def _login(error: BaseException, asked: Asked) -> str | None:
    if isinstance(error, SaslAuthenticationFailed):
        return (
            f"does not let user {asked.sasl_username!r} in by {asked.sasl_mechanism}: unknown user or wrong "
            "password; see kafka.sasl_username, kafka.sasl_password and kafka.sasl_mechanism"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"offers no login by {asked.sasl_mechanism}; see kafka.sasl_mechanism"
    if isinstance(error, IllegalSaslStateError):
        without = "SSL" if asked.tls else "PLAINTEXT"
        return (
            "takes no logins on this port; "
            f"see kafka.security_protocol ({asked.security_protocol}; it may be {without}), {_OTHER_PORT}"
        )
    return None


def _connection(error: BaseException, cause: BaseException | None, asked: Asked) -> str:
    if isinstance(error, socket.gaierror):
        return f"has a host name that nobody knows ({error.strerror}); see kafka.bootstrap_servers"
    if isinstance(error, TimeoutError):
        return f"did not answer within {asked.timeout_s:.0f} s; see kafka.bootstrap_servers"
    if isinstance(error, ConnectionRefusedError):
        return (
            "cannot be reached: nothing listens there; "
            "see kafka.bootstrap_servers, or start one: riverlens broker"
        )
    return _protocol(error, cause, asked)


def _protocol(error: BaseException, cause: BaseException | None, asked: Asked) -> str:
    given = asked.security_protocol
    if isinstance(cause, asyncio.IncompleteReadError) and (cause.expected or 0) >> 16 == _TLS_ALERT:
        may_be = "SASL_SSL" if asked.with_login else "SSL or SASL_SSL"
        return (
            f"speaks TLS on this port; see kafka.security_protocol ({given}; it may be {may_be}), "
            f"{_OTHER_PORT}"
        )
    if asked.let_in and not asked.with_login:
        may_be = "SASL_SSL" if asked.tls else "SASL_PLAINTEXT"
        return (
            f"wants a login on this port; see kafka.security_protocol ({given}; it may be {may_be}), "
            "kafka.sasl_username, kafka.sasl_password"
        )
    if asked.tls and isinstance(error, ConnectionError):
        return _no_tls(asked)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be reached ({text}); see kafka.bootstrap_servers and kafka.security_protocol"
