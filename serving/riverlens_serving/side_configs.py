"""The small text files beside the models: TLS and monitoring."""

from __future__ import annotations

from pathlib import Path

from riverlens.errors import SettingsError
from riverlens_serving.config import Tls
from riverlens_serving.metrics import PAGE_PATH
from riverlens_serving.text_proto import read_monitoring_config, read_ssl_config


def read_tls(path: Path) -> Tls:
    """What an SSLConfig text file says. Its keys and certificates are PEM contents, not paths.

    Raises:
        SettingsError: unreadable, no such text, or a key or certificate that is missing.
    """
    message = read_ssl_config(path)
    needed = ["server_key", "server_cert", *(["custom_ca"] if message.client_verify else [])]
    problems = [
        f"--ssl_config_file: {path}: {name}: put the PEM text itself there"
        for name in needed
        if "-----BEGIN" not in getattr(message, name)
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    return Tls(
        key=message.server_key.encode(),
        certificate=message.server_cert.encode(),
        client_ca=message.custom_ca.encode() if message.client_verify else None,
    )


def read_metrics_path(path: Path) -> str | None:
    """Where a MonitoringConfig text file wants the metrics page; None where it does not want one.

    Raises:
        SettingsError: unreadable, or no such text.
    """
    prometheus = read_monitoring_config(path).prometheus_config
    if not prometheus.enable:
        return None
    return prometheus.path or PAGE_PATH
