"""Every role over TLS with logins, client certificates and ACLs; what is wrong is told in one line."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from riverlens.broker import BrokerSecurity, EmbeddedBroker
from riverlens.errors import UnreachableError
from riverlens.frame import Frame
from riverlens.frame_producer import FrameProducer
from riverlens.kafka import KafkaSettings
from riverlens.topics import ensure_topics
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.images import jpeg
from tests.harness.security import (
    Acl,
    Authority,
    Operation,
    Resource,
    SecuredKafka,
    config_file,
    ssl_config,
    worker_rights,
)
from tests.harness.security_fixtures import names_for
from tests.harness.topics import read_all
from tests.harness.worker import flags, running, start_worker
from tests.model_servers import address, start_inside

LONGEST_S = 60.0


async def _command(*argv: str) -> tuple[int | None, str]:
    """Run `riverlens ...`; its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverlens", *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")},
    )  # fmt: skip
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    return process.returncode, printed.decode()


@pytest.fixture
def models(secured: SecuredKafka, colour_model: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A model server that asks for client certificates, and the settings that reach it."""
    authority = secured.authority
    config = ssl_config(tmp_path, authority.issue("models"), authority, verify=True)
    mine = authority.issue("model-client")
    flags = ("--model_name=colour", f"--model_base_path={colour_model}", f"--ssl_config_file={config}")
    with ExitStack() as stack:
        yield {
            "server": address(start_inside(stack, *flags)),
            "server_tls": "true",
            "server_ca_file": str(authority.file),
            "server_cert_file": str(mine.certificate),
            "server_key_file": str(mine.key),
        }


async def test_the_whole_line_with_tls_logins_and_acls(
    secured: SecuredKafka, models: dict[str, str], tmp_path: Path
) -> None:
    """Topics, producer, worker and model server over TLS, each with no right too many; no password shown."""
    topics = names_for(secured)
    await secured.allow("camera", Acl(Resource.TOPIC, topics.frames, Operation.WRITE))
    await secured.allow("worker", *worker_rights(topics))
    files = {
        name: config_file(tmp_path / name, secured.login(name)) for name in ("admin", "camera", "worker")
    }
    debug = "--log-level=debug"
    named = {f"{name}_topic": getattr(topics, name) for name in ("frames", "events", "dlq")}
    code, output = await _command("topics", f"--config={files['admin']}", debug, *flags(named))
    assert code == 0, output
    server = models.pop("server")
    settings = {"config": files["worker"], "log_level": "debug", "delivery": "exactly-once"}
    settings |= {**models, "server_tls": True}
    kafka = secured.login("worker")
    async with running(start_worker(tmp_path / "log", kafka, topics, server, **settings)) as worker:
        await worker.ready()
        produce = ("--synthetic", "--frames=40", "--fps=0", "--size=64x48", "--scenes=2", "--progress=off")
        camera = (f"--config={files['camera']}", f"--topic={topics.frames}", debug)
        code, sent = await _command("producer", "run", *camera, *produce)
        assert code == 0, sent
        (await settled(secured.root, topics, 40)).check()
        output += sent + repr([await worker.get(page) for page in ("/metrics", "/readyz", "/healthz")])
        assert await worker.stop() == 0
    shown = (await _command("worker", "run", f"--config={files['worker']}", "--print-config"))[1]
    assert 'sasl_password = "****' in shown
    output += worker.log() + shown
    assert "Authenticated as worker via SCRAM-SHA-512" in output
    assert not [user for user, password in secured.passwords.items() if password in output]


async def _round(kafka: KafkaSettings, topics: TopicSet) -> None:
    async with FrameProducer(kafka, topic=topics.frames) as producer:
        await producer.send(Frame("lobby", jpeg(), time.time_ns() // 1_000_000))
    (record,) = await read_all(kafka, topics.frames)
    assert record.value == jpeg()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_every_login(secured: SecuredKafka, secured_topics: TopicSet, mechanism: str) -> None:
    """A frame goes round as the same user by each way to log in."""
    both = [Acl(Resource.TOPIC, secured_topics.frames, each) for each in (Operation.READ, Operation.WRITE)]
    await secured.allow("camera", *both)
    await _round(secured.login("camera", sasl_mechanism=mechanism), secured_topics)


async def test_a_client_certificate_is_a_user(secured: SecuredKafka, secured_topics: TopicSet) -> None:
    """With mTLS the certificate's common name has the rights; another's certificate has none."""
    both = [Acl(Resource.TOPIC, secured_topics.frames, each) for each in (Operation.READ, Operation.WRITE)]
    await secured.allow("roof", *both)
    await _round(secured.certified(secured.authority.issue("roof")), secured_topics)
    with pytest.raises(UnreachableError, match=r"does not let us .*kafka\.ssl_certfile"):
        await _round(secured.certified(secured.authority.issue("cellar")), secured_topics)


def _line(error: pytest.ExceptionInfo[UnreachableError], secured: SecuredKafka) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert not [password for password in secured.passwords.values() if password in text]
    return text


def _foreign(secured: SecuredKafka) -> Authority:
    return Authority(secured.authority.file.parent, "foreign")


WRONG: dict[str, tuple[Callable[[SecuredKafka], KafkaSettings], str]] = {
    "authority": (
        lambda s: s.login("admin", ssl_cafile=str(_foreign(s).file)),
        r"authority that we do not know; see kafka\.ssl_cafile \(.*foreign\.pem\)",
    ),
    "no authority": (
        lambda s: s.login("admin", ssl_cafile=None),
        r"see kafka\.ssl_cafile \(unset: the system's authorities\)",
    ),
    "host name": (
        lambda s: s.login(
            "admin",
            bootstrap_servers=s.broker.bootstrap_for("SASL_SSL").replace("127.0.0.1", "localhost"),
        ),
        r"certificate that is not for 'localhost': name it in kafka\.bootstrap_servers",
    ),
    "password": (
        lambda s: s.login("admin", sasl_password="guessed"),  # noqa: S106  # wrong on purpose
        r"does not let user 'admin' in .*kafka\.sasl_password",
    ),
    "password, PLAIN": (
        lambda s: s.login("admin", sasl_password="guessed", sasl_mechanism="PLAIN"),  # noqa: S106  # as above
        r"does not let user 'admin' in .*kafka\.sasl_password",
    ),
    "user": (lambda s: s.login("eve"), r"does not let user 'eve' in .*kafka\.sasl_username"),
    "no login": (
        lambda s: s.login("admin", security_protocol="SSL"),
        r"wants a login on this port; see kafka\.security_protocol \(SSL; it may be SASL_SSL\)",
    ),
    "no TLS": (
        lambda s: s.login("admin", security_protocol="SASL_PLAINTEXT"),
        r"speaks TLS on this port; see kafka\.security_protocol \(SASL_PLAINTEXT; it may be SASL_SSL\)",
    ),
    "neither": (
        lambda s: s.login("admin", security_protocol="PLAINTEXT"),
        r"speaks TLS on this port; see kafka\.security_protocol \(PLAINTEXT; it may be SSL or SASL_SSL\)",
    ),
    "TLS where there is none": (
        lambda s: s.login("admin", bootstrap_servers=s.broker.bootstrap_servers),
        r"does not speak TLS on this port; see kafka\.security_protocol \(SASL_SSL",
    ),
    "a login where there is none": (
        lambda s: s.login(
            "admin", bootstrap_servers=s.broker.bootstrap_servers, security_protocol="SASL_PLAINTEXT"
        ),
        r"takes no logins on this port; see kafka\.security_protocol",
    ),
    "no client certificate": (
        lambda s: s.certified(None),
        r"wants a client's certificate; see kafka\.ssl_certfile and kafka\.ssl_keyfile",
    ),
    "a stranger's client certificate": (
        lambda s: s.certified(_foreign(s).issue("mallory")),
        r"does not accept our certificate .*see kafka\.ssl_certfile \(.*mallory\.pem\)",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_security_is_one_line(secured: SecuredKafka, wrong: str) -> None:
    """Each mistake is named with the setting that mends it, soon, by topics and FrameProducer alike."""
    make, told = WRONG[wrong]
    kafka = make(secured)
    began_s = time.monotonic()
    with pytest.raises(UnreachableError, match=told) as error:
        await ensure_topics(kafka, [])
    _line(error, secured)
    with pytest.raises(UnreachableError, match=told) as error:
        await FrameProducer(kafka).__aenter__()
    _line(error, secured)
    assert time.monotonic() - began_s < LONGEST_S


async def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    """It is the broker that must be mended: no setting of ours is blamed."""
    authority = Authority(tmp_path)
    stale = BrokerSecurity(keystore=authority.issue("stale", expired=True).keystore)
    async with EmbeddedBroker(security=stale) as broker:
        kafka = KafkaSettings(
            bootstrap_servers=broker.bootstrap_for("SSL"),
            security_protocol="SSL",
            ssl_cafile=str(authority.file),
        )
        with pytest.raises(UnreachableError, match="certificate that has expired: renew it there"):
            await ensure_topics(kafka, [])


@pytest.mark.parametrize("role", ["worker", "producer", "topics"])
async def test_a_wrong_password_ends_each_command_with_one_line(
    secured: SecuredKafka, server: str, tmp_path: Path, role: str
) -> None:
    """Exit code 4 and a single line, soon; what a person reads has neither trace nor password."""
    guess = f"guess-{secrets.token_hex(8)}"
    config = config_file(tmp_path / "wrong.toml", secured.login("worker", sasl_password=guess))
    argv = {
        "worker": ("worker", "run", f"--server={server}", "--model=colour", "--admin-port=0"),
        "producer": ("producer", "run", "--synthetic", "--progress=off"),
        "topics": ("topics",),
    }[role]
    began_s = time.monotonic()
    code, printed = await _command(*argv, f"--config={config}", "--log-level=error")
    assert time.monotonic() - began_s < LONGEST_S
    assert code == 4
    line = printed.strip()
    assert "\n" not in line, printed
    assert re.match(rf"riverlens {' '.join(argv[:2] if role != 'topics' else argv)}: Kafka at .*", line)
    assert "kafka.sasl_password" in line
    assert guess not in printed
