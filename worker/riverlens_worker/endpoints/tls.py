"""TLS to the model server: credentials from files, and what is wrong where no connection comes about.

gRPC says UNAVAILABLE for a server that is away and for one that will not speak with us. So the handshake is
tried once more by hand: its failure has a name, and names the setting that mends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from riverlens.errors import SettingsError
from riverlens_worker.settings import WorkerSettings

_TIMEOUT_S = 3.0
_ALERT_S = 0.5
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is trusted and how we prove ourselves.

    Attributes:
        ca_file: PEM of the authority that signed the server's certificate; None: the system's.
        cert_file, key_file: PEM of our own certificate and its key, or None.
        name: the name in the server's certificate; "": that of its address.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    name: str = ""

    @classmethod
    def of(cls, settings: WorkerSettings) -> Tls | None:
        """As the settings say; None without TLS."""
        if not settings.server_tls:
            return None
        return cls(
            settings.server_ca_file,
            settings.server_cert_file,
            settings.server_key_file,
            settings.server_name or "",
        )

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials for a channel.

        Raises:
            SettingsError: a file cannot be used; names the setting.
        """
        self.context()
        return grpc.ssl_channel_credentials(
            _bytes(self.ca_file, "server_ca_file"),
            _bytes(self.key_file, "server_key_file"),
            _bytes(self.cert_file, "server_cert_file"),
        )

    def context(self) -> ssl.SSLContext:
        """The same for Python's own TLS.

        Raises:
            SettingsError: a file cannot be used; names the setting. gRPC would say only that no connection
                came about.
        """
        for path, setting in ((self.ca_file, "server_ca_file"), (self.key_file, "server_key_file")):
            _bytes(path, setting)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise SettingsError(
                f"server_ca_file ({self.ca_file}) is no PEM certificate: {_said(error)}"
            ) from None
        context.set_alpn_protocols(["h2"])
        if self.cert_file is not None:
            _bytes(self.cert_file, "server_cert_file")
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=b"")
            except ssl.SSLError as error:
                raise SettingsError(
                    f"server_cert_file ({self.cert_file}) and server_key_file ({self.key_file}) are no "
                    f"certificate with its key, or the key has a password: {_said(error)}"
                ) from None
        return context


def _bytes(path: str | None, setting: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} ({path}) cannot be read: {error.strerror}") from None


async def diagnose(host: str, port: int, tls: Tls | None) -> str | None:
    """What keeps us from speaking with the server, naming the setting; None where it is merely away."""
    where = f"the model server at {host}:{port}"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            if tls is None:
                return await _speaks_tls(where, host, port)
            return await _handshake(where, host, port, tls)
    except TimeoutError:
        return None
    except OSError:
        # No connection at all, or one that broke off: it is away.
        return None


async def _speaks_tls(where: str, host: str, port: int) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host.strip("[]"), port, ssl=context)
    await _close(writer)
    return f"{where} speaks TLS; set server_tls=true, and server_ca_file for an authority of your own"


async def _handshake(where: str, host: str, port: int, tls: Tls) -> str | None:
    name = tls.name or host.strip("[]")
    try:
        reader, writer = await asyncio.open_connection(
            host.strip("[]"), port, ssl=tls.context(), server_hostname=name
        )
    except ssl.SSLCertVerificationError as error:
        return _not_trusted(where, name, tls, error)
    except ssl.SSLError as error:
        return _refused(where, tls, error)
    try:
        # With TLS 1.3 a server judges our certificate after our side of the handshake is done: one that
        # takes it begins to speak HTTP/2, one that does not sends an alert, or just closes.
        async with asyncio.timeout(_ALERT_S):
            if not await reader.read(1):
                return _refused(where, tls, ConnectionResetError("closed after the handshake"))
    except (ssl.SSLError, ConnectionResetError) as error:
        return _refused(where, tls, error)
    except TimeoutError:
        return None
    finally:
        await _close(writer)
    return None


def _refused(where: str, tls: Tls, error: OSError) -> str:
    said = _said(error)
    if any(text in str(error) for text in _NO_TLS):
        return f"{where} does not speak TLS; see server_tls and the port in server"
    if tls.cert_file is None:
        return f"{where} asks for a client certificate ({said}); set server_cert_file and server_key_file"
    return f"{where} does not accept server_cert_file ({tls.cert_file}): {said}"


def _not_trusted(where: str, name: str, tls: Tls, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message or _said(error)
    if "mismatch" in said.lower() or "not valid for" in said:
        return f"{where} has a certificate for another name ({said}); set server_name to the name in it"
    signed = f"server_ca_file ({tls.ca_file})" if tls.ca_file else "a system authority; set server_ca_file"
    if "expired" in said or "not yet valid" in said:
        return f"{where} has a certificate out of its time ({said}); renew it, or see this machine's clock"
    return f"{where} has a certificate for {name} that is not signed by {signed} ({said})"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # its end of the connection may be gone already
        await writer.wait_closed()


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or " ".join(str(error).split()) or type(error).__name__)
