"""docker-compose.tls.yml changes what it says, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compose_file import TLS_FILE, load_compose, load_with_tls

PLAIN: dict[str, dict[str, Any]] = load_compose()["services"]
OVER: dict[str, dict[str, Any]] = load_compose(TLS_FILE)["services"]
MERGED: dict[str, dict[str, Any]] = load_with_tls()["services"]
CLIENTS = ("topics", "worker", "producer", "wall")


def test_every_service_that_speaks_to_kafka_or_models_is_changed() -> None:
    """No client stays plain, and no service is new."""
    clients = {
        name for name, service in PLAIN.items() if "RIVERLENS_KAFKA__BOOTSTRAP_SERVERS" in str(service)
    }
    assert clients == set(CLIENTS)
    assert set(OVER) == {*clients, "kafka", "serving-gpu", "serving-cpu"}


@pytest.mark.parametrize("service", CLIENTS)
def test_clients_keep_their_settings_and_gain_certificates(service: str) -> None:
    """Addresses and all else stay; files named in variables lie in the one folder mounted for them."""
    environment = MERGED[service]["environment"]
    assert PLAIN[service]["environment"].items() <= environment.items()
    assert environment["RIVERLENS_KAFKA__SECURITY_PROTOCOL"] == "SSL"
    files = {value for value in environment.values() if value.startswith("/")}
    assert files == {"/certs/ca.crt", "/certs/tls.crt", "/certs/tls.key"}
    assert MERGED[service]["volumes"] == ["./certificates/client:/certs:ro"]


@pytest.mark.parametrize("service", ["serving-gpu", "serving-cpu"])
def test_the_model_server_gains_one_flag(service: str) -> None:
    """Its command is that of docker-compose.yml and --ssl_config_file; its mounts are one more."""
    assert MERGED[service]["command"] == [*PLAIN[service]["command"], "--ssl_config_file=/certs/ssl.config"]
    assert MERGED[service]["volumes"] == [*PLAIN[service]["volumes"], "./certificates/models:/certs:ro"]


def test_kafka_lets_nobody_in_without_a_certificate() -> None:
    """Every published or internal listener is TLS with a client's certificate; its own check shows one."""
    environment = MERGED["kafka"]["environment"]
    protocols = dict(
        pair.split(":") for pair in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert protocols == {"INTERNAL": "SSL", "HOST": "SSL", "CONTROLLER": "PLAINTEXT"}
    assert environment["KAFKA_SSL_CLIENT_AUTH"] == "required"
    check = MERGED["kafka"]["healthcheck"]
    assert (
        check["test"][: len(PLAIN["kafka"]["healthcheck"]["test"])] == PLAIN["kafka"]["healthcheck"]["test"]
    )
    assert check["test"][-2:] == ["--command-config", "/certs/client.properties"]
    assert check["retries"] == PLAIN["kafka"]["healthcheck"]["retries"]
    # Elsewhere the image's start script would ask for key stores in files of Java's own kind.
    assert "SSL://" not in environment["KAFKA_ADVERTISED_LISTENERS"]
