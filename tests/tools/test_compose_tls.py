"""docker-compose.tls.yml with the certificates that its script makes: Kafka and a model server take them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from riverlens.broker import BrokerSecurity, EmbeddedBroker
from tests import model_servers
from tests.compose_file import ROOT, load_with_tls
from tests.debian_tools import tool
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker, running

pytestmark = pytest.mark.tools

SCRIPT = ROOT / "scripts" / "make_certificates.sh"
SERVICES = load_with_tls()["services"]


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool("openssl")
    command = ["sh", str(SCRIPT), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the script fills."""
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    done = _make(folder, "2")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_certificates_name_their_hosts_and_hide_the_authority(certificates: Path) -> None:
    """Each carries the names that compose uses; only the owner reaches the folder; a key is PKCS 8."""
    assert certificates.stat().st_mode & 0o777 == 0o700
    assert (certificates / "ca.key").stat().st_mode & 0o777 == 0o600
    pem = (certificates / "kafka" / "kafka.pem").read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["kafka", "localhost"]
    assert b"-----BEGIN PRIVATE KEY-----" in pem
    load_pem_private_key((certificates / "client" / "tls.key").read_bytes(), password=None)
    written = {path.name for path in certificates.rglob("*") if path.is_file()}
    asked = {"kafka.pem", "ca.crt", "client.properties", "ssl.config", "tls.crt", "tls.key"}
    assert written == asked | {"ca.key"}


def test_certificates_are_never_overwritten(certificates: Path) -> None:
    """A second run changes nothing and says what to do; a wrong number of days makes nothing."""
    before = (certificates / "ca.crt").read_bytes()
    again = _make(certificates)
    assert again.returncode == 1
    assert "remove it first" in again.stderr
    assert (certificates / "ca.crt").read_bytes() == before
    wrong = _make(certificates.parent / "other", "year")
    assert (wrong.returncode, (certificates.parent / "other").exists()) == (1, False)


def _here(service: str, certificates: Path) -> dict[str, str]:
    """A service's variables, with the mounted folder's files where they lie here."""
    (mount,) = (each for each in SERVICES[service]["volumes"] if ":/certs:" in each)
    folder = certificates / mount.split(":")[0].removeprefix("./certificates/")
    values = {name: str(value) for name, value in SERVICES[service]["environment"].items()}
    return {name: value.replace("/certs/", f"{folder}/") for name, value in values.items()}


@pytest.fixture(scope="module")
def kafka(certificates: Path) -> Iterator[str]:
    """Address of a Kafka with the TLS properties that the compose file gives to its own."""
    values = _here("kafka", certificates)
    security = BrokerSecurity(
        keystore=Path(values["KAFKA_SSL_KEYSTORE_LOCATION"]),
        client_ca=Path(values["KAFKA_SSL_TRUSTSTORE_LOCATION"]),
    )
    ours = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in values.items()}
    same = {
        name: value
        for name, value in security.properties().items()
        if name.startswith("ssl.") and name in ours
    }
    assert same.items() <= ours.items()
    assert len(same) == 4
    with EmbeddedBroker(security=security) as broker:
        yield broker.bootstrap_for("SSL")


@pytest.fixture
def models(certificates: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a model server with the compose file's ssl.config, by a name that its certificate has."""
    config = certificates / "models" / "ssl.config"
    flags = ("--model_name=street", f"--model_base_path={ROOT / 'serving' / 'models' / 'street'}")
    with model_servers.model_server(tmp_path / "server.log", *flags, f"--ssl_config_file={config}") as server:
        yield f"localhost:{server.address.rpartition(':')[2]}"


def _environment(service: str, certificates: Path, kafka: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")}
    return plain | _here(service, certificates) | {"RIVERLENS_KAFKA__BOOTSTRAP_SERVERS": kafka}


async def _run(*argv: str, environment: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverlens", *argv,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment,
    )  # fmt: skip
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    return process.returncode, printed.decode()


async def test_the_line_runs_with_these_certificates(
    certificates: Path, kafka: str, models: str, tmp_path: Path
) -> None:
    """Topics, worker and producer, with the compose file's variables, carry frames over TLS on both sides."""
    code, output = await _run("topics", environment=_environment("topics", certificates, kafka))
    assert code == 0, output
    environment = _environment("worker", certificates, kafka)
    environment |= {
        "RIVERLENS_SERVER": models,
        "RIVERLENS_ADMIN_HOST": "127.0.0.1",
        "RIVERLENS_ADMIN_PORT": "0",
    }
    worker = _start(tmp_path / "worker.log", environment)
    async with running(worker):
        await worker.ready()
        produce = ("producer", "run", "--frames=8", "--fps=0", "--size=64x48", "--progress=off")
        code, output = await _run(*produce, environment=_environment("producer", certificates, kafka))
        assert code == 0, output

        async def published() -> bool:
            return (await worker.balance())["published"] >= 8

        await wait_for(published, what="frames have become events")
        assert await worker.stop() == 0


def _start(log: Path, environment: dict[str, str]) -> Worker:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "riverlens", "worker", "run"],
            stdout=output,
            stderr=output,
            env=environment,
        )
    return Worker(process, log)


async def test_kafka_refuses_who_has_no_certificate(certificates: Path, kafka: str) -> None:
    """Without the client's certificate nothing is let in, and the line says so."""
    environment = _environment("topics", certificates, kafka)
    for name in ("RIVERLENS_KAFKA__SSL_CERTFILE", "RIVERLENS_KAFKA__SSL_KEYFILE"):
        del environment[name]
    code, output = await _run("topics", environment=environment)
    assert code == 4, output
    assert "certificate" in output
