"""TLS to the model server: what works, and what does not in one line that names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from riverlens.broker.ports import free_ports
from riverlens.errors import RiverlensError, SettingsError, UnreachableError
from riverlens.kafka import KafkaSettings
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.metrics import Metrics
from riverlens_worker.settings import WorkerSettings
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.security import Authority, ssl_config
from tests.harness.topics import Put, put
from tests.model_servers import address, start_inside


@dataclass(frozen=True)
class Secured:
    """Model servers of the model `colour`, by how they are spoken to, and files for clients."""

    servers: dict[str, str]
    files: dict[str, str]


@pytest.fixture(scope="module")
def secured(colour_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One server each: plain, with TLS, with client certificates asked for, for another name, expired."""
    folder = tmp_path_factory.mktemp("tls")
    ours, other = Authority(folder), Authority(folder, "other-ca")
    own, client = ours.issue("server"), ours.issue("client")
    elsewhere = ours.issue("elsewhere", ["models.test"])
    expired, stranger = ours.issue("expired", expired=True), other.issue("stranger")
    configs = {
        "tls": ssl_config(folder, own, ours, verify=False),
        "mutual": ssl_config(folder, own, ours, verify=True),
        "elsewhere": ssl_config(folder, elsewhere, ours, verify=False),
        "expired": ssl_config(folder, expired, ours, verify=False),
    }
    files = {
        "ca": ours.file,
        "other-ca": other.file,
        "cert": client.certificate,
        "key": client.key,
        "stranger-cert": stranger.certificate,
        "stranger-key": stranger.key,
        "text": folder / "text.pem",
    }
    files["text"].write_text("no certificate\n")
    with ExitStack() as stack:
        flags = ("--model_name=colour", f"--model_base_path={colour_model}")
        servers = {"plain": address(start_inside(stack, *flags))}
        for name, config in configs.items():
            servers[name] = address(start_inside(stack, *flags, f"--ssl_config_file={config}"))
        yield Secured(servers, {name: str(path) for name, path in files.items()})


CA, MINE = {"ca_file": "ca"}, {"cert_file": "cert", "key_file": "key"}
STRANGER = {"cert_file": "stranger-cert", "key_file": "stranger-key"}
GOES = {
    "TLS": ("tls", CA),
    "mutual TLS": ("mutual", CA | MINE),
    "another name": ("elsewhere", CA | {"name": "models.test"}),
}
WRONG: dict[str, tuple[str, dict[str, str] | None, tuple[str, ...]]] = {
    "plain to a TLS port": ("tls", None, ("speaks TLS", "server_tls=true")),
    "plain to a mutual TLS port": ("mutual", None, ("speaks TLS", "server_tls=true")),
    "TLS to a plain port": ("plain", CA, ("does not speak TLS", "server_tls")),
    "wrong authority": ("tls", {"ca_file": "other-ca"}, ("not signed by server_ca_file", "other-ca.pem")),
    "no authority": ("tls", {}, ("set server_ca_file",)),
    "no client certificate": ("mutual", CA, ("asks for a client certificate", "server_cert_file")),
    "a stranger's certificate": ("mutual", CA | STRANGER, ("does not accept server_cert_file", "stranger")),
    "another name": ("elsewhere", CA, ("certificate for another name", "server_name")),
    "expired": ("expired", CA, ("certificate out of its time", "expired")),
}
UNUSABLE = {
    "no file": (CA | {"ca_file": "/no/such.pem"}, "server_ca_file (/no/such.pem) cannot be read"),
    "no certificate": ({"ca_file": "text"}, "is no PEM certificate"),
    "not a pair": (CA | MINE | {"key_file": "stranger-key"}, "are no certificate with its key"),
}


def _settings(secured: Secured, server: str, given: dict[str, str] | None) -> WorkerSettings:
    tls = {} if given is None else {f"server_{k}": secured.files.get(v, v) for k, v in given.items()}
    where = secured.servers.get(server, server)
    fields = {"server": where, "server_tls": given is not None, "model": "colour", **tls}
    return WorkerSettings(**fields)  # type: ignore[arg-type]  # fields of several types


async def _reach(settings: WorkerSettings, waiting: list[str]) -> None:
    endpoints = Endpoints(settings, Metrics(CollectorRegistry()))
    try:
        await endpoints.wait_available(waiting.append)
        assert await endpoints.signatures()
    finally:
        await endpoints.close()


@pytest.mark.parametrize("name", GOES)
async def test_certificates_that_fit_let_us_in(secured: Secured, name: str) -> None:
    """TLS by an authority of one's own, with a client certificate, and under another name."""
    server, given = GOES[name]
    waited: list[str] = []
    await _reach(_settings(secured, server, given), waited)
    assert not [why for why in waited if "does not answer" not in why], "slow is no mistake"


@pytest.mark.parametrize("name", WRONG)
async def test_each_mistake_is_one_line(secured: Secured, name: str) -> None:
    """What keeps us out is told at once, in one line that names the server and the setting."""
    server, given, words = WRONG[name]
    with pytest.raises(UnreachableError) as caught:
        await _reach(_settings(secured, server, given), [])
    line = str(caught.value)
    assert all(word in line for word in (secured.servers[server], *words)), line
    assert "\n" not in line


@pytest.mark.parametrize("name", UNUSABLE)
async def test_files_that_cannot_be_used_are_named(secured: Secured, name: str) -> None:
    """A certificate or key that cannot be used is a wrong setting, told before anything is asked."""
    given, words = UNUSABLE[name]
    with pytest.raises(SettingsError) as caught:
        await _reach(_settings(secured, "tls", given), [])
    assert words in str(caught.value)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_that_is_away_is_no_mistake(*, secured: Secured, tls: bool) -> None:
    """Where nobody listens the worker waits, with TLS and without, and says for whom."""
    (port,) = free_ports(1)
    settings = _settings(secured, f"127.0.0.1:{port}", CA if tls else None)

    class EnoughError(RiverlensError):
        """The test has seen what it wants to see."""

    said: list[str] = []

    def waiting(why: str) -> None:
        said.append(why)
        if len(said) > 3:
            raise EnoughError

    endpoints = Endpoints(settings, Metrics(CollectorRegistry()))
    with pytest.raises(EnoughError):
        await endpoints.wait_available(waiting)
    await endpoints.close()
    assert all(f"127.0.0.1:{port} does not answer" in why for why in said)


async def test_frames_go_over_mutual_tls(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, secured: Secured
) -> None:
    """The worker as people start it: frames to events over TLS with client certificates."""
    given: dict[str, Any] = {f"server_{name}": secured.files[file] for name, file in (CA | MINE).items()}
    await put(kafka, topic_set.frames, [Put(jpeg(), partition=n % 4) for n in range(40)])
    await workers(topic_set, server=secured.servers["mutual"], server_tls=True, **given)
    account = await settled(kafka, topic_set, 40)
    account.check()
    assert len(account.events) == 40
