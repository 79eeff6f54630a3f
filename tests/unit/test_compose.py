"""docker-compose.yml says what it means: waits that can end, settings that exist, files that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from riverlens.settings import Settings, load
from riverlens.topics import TopicsSettings
from riverlens_producer.settings import ProducerSettings
from riverlens_wall.settings import WallSettings
from riverlens_worker.settings import WorkerSettings
from tests.compose_file import ROOT, load_compose

COMPOSE = load_compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS: dict[str, type[Settings]] = {
    "topics": TopicsSettings,
    "worker": WorkerSettings,
    "producer": ProducerSettings,
    "wall": WallSettings,
}
THEIRS = sorted(set(SERVICES) - set(OURS))
INTERNAL_KAFKA = "kafka:19092"
LONGEST_END_S = {"producer": 15.0, "wall": 10.0}
"""The wall's readers leave Kafka within 6 s, browsers get 2 s for a goodbye, requests 2 s."""


def _waits(service: str) -> dict[str, dict[str, Any]]:
    waits: dict[str, dict[str, Any]] = SERVICES[service].get("depends_on", {})
    return waits


def _settings(service: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in SERVICES[service]["environment"].items():
        assert isinstance(value, str), f"{service}: {name} needs quotes"
        monkeypatch.setenv(name, value)
    return load(OURS[service], [], prog=service)


@pytest.mark.parametrize("service", SERVICES)
def test_waits_can_end(service: str) -> None:
    """What a service waits for exists, and can reach the condition: a health check, or an end."""
    for name, wait in _waits(service).items():
        target = SERVICES[name]
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in target, f"{service} waits for {name}, which has no health check"
        elif wait["condition"] == "service_completed_successfully":
            assert target.get("restart") == "no", f"{service} waits for the end of {name}, which restarts"
        else:
            pytest.fail(f"{service} waits for {name} without a condition that means ready")
        if target.get("profiles") and target["profiles"] != SERVICES[service].get("profiles"):
            assert wait.get("required") is False, f"{name} is not there in every profile"


def test_starts_have_an_order() -> None:
    """The waits form no circle: from any service they end at one that waits for nothing."""
    done: set[str] = set()
    while len(done) < len(SERVICES):
        ready = {name for name in SERVICES if name not in done and set(_waits(name)) <= done}
        assert ready, f"circle among {sorted(set(SERVICES) - done)}"
        done |= ready


def test_frames_flow_only_when_the_line_is_ready() -> None:
    """Topics wait for Kafka, the worker for topics and either model server, the producer for the worker."""
    assert set(_waits("topics")) == {"kafka"}
    assert set(_waits("worker")) == {"topics", "serving-gpu", "serving-cpu"}
    assert set(_waits("producer")) == {"worker"}


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each RIVERLENS_ variable sets a field of the role's settings, and together they are valid."""
    settings = _settings(service, monkeypatch)
    for name, value in SERVICES[service]["environment"].items():
        path = name.removeprefix("RIVERLENS_").lower().split("__")
        found: Any = settings
        for part in path:
            assert hasattr(found, part), f"{service}: {name} sets nothing"
            found = getattr(found, part)
        found = ",".join(found) if isinstance(found, tuple) else found
        assert str(found).lower().removesuffix(".0") == value.lower().removesuffix(".0"), name


@pytest.mark.parametrize("service", OURS)
def test_services_find_kafka_where_it_listens(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours ask Kafka at the address that it advertises to containers."""
    settings = _settings(service, monkeypatch)
    assert isinstance(settings, WorkerSettings | ProducerSettings | TopicsSettings | WallSettings)
    assert settings.kafka.bootstrap_servers == INTERNAL_KAFKA
    assert f"INTERNAL://{INTERNAL_KAFKA}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_the_worker_finds_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both model servers answer to the worker's host name, and serve its model from the mounted folder."""
    settings = _settings("worker", monkeypatch)
    assert isinstance(settings, WorkerSettings)
    config = (ROOT / "serving" / "gpu" / "models.config").read_text(encoding="utf-8")
    assert f'name: "{settings.model}"' in config
    assert f'base_path: "/models/{settings.model}"' in config
    host, port = settings.server.split(":")
    for name in ("serving-gpu", "serving-cpu"):
        service = SERVICES[name]
        assert host in service["networks"]["default"]["aliases"]
        assert f"127.0.0.1:{port}:{port}" in service["ports"]
        assert "./serving/models:/models:ro" in service["volumes"]
        assert f"/v1/models/{settings.model} " in service["healthcheck"]["test"][-1]


def test_batches_fit_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model server merges up to as many rows as the worker sends at most."""
    settings = _settings("worker", monkeypatch)
    assert isinstance(settings, WorkerSettings)
    batching = (ROOT / "serving" / "gpu" / "batching.config").read_text(encoding="utf-8")
    limit = re.search(r"^max_batch_size \{ value: (\d+) \}", batching, re.MULTILINE)
    assert limit is not None
    assert int(limit[1]) == settings.max_batch_size


@pytest.mark.parametrize("service", SERVICES)
def test_mounts_exist(service: str) -> None:
    """Each path mounted from here is in the repository and read-only; each volume is declared."""
    for mount in SERVICES[service].get("volumes", []):
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists(), f"{service}: {source} is not there"
            assert mode == ["ro"], f"{service}: {source} is mounted to be written"
        else:
            assert source in COMPOSE["volumes"], f"{service}: volume {source} is not declared"


@pytest.mark.parametrize("service", THEIRS)
def test_files_named_in_commands_are_mounted(service: str) -> None:
    """A configuration file that a command names lies in a folder mounted there, and exists."""
    mounts = [mount.split(":") for mount in SERVICES[service].get("volumes", [])]
    for word in SERVICES[service].get("command", []):
        flag, _, path = word.partition("=")
        if path.startswith("/") and flag.endswith(("file", "config")):
            inside = [Path(s, Path(path).name) for s, t, *_ in mounts if Path(t) == Path(path).parent]
            assert inside, f"{service}: {word}: nothing is mounted there"
            assert (ROOT / inside[0]).is_file(), f"{service}: {word}: {inside[0]} is not there"


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned(service: str) -> None:
    """Each image has a version of its own: never `latest`, never none."""
    _, _, tag = SERVICES[service]["image"].rpartition(":")
    assert re.match(r"v?\d+\.\d+\.\d+(-gpu)?$", tag), SERVICES[service]["image"]


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_on_loopback(service: str) -> None:
    """Nothing is published to other machines."""
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:"), f"{service}: {port}"


@pytest.mark.parametrize("service", OURS)
def test_our_containers_may_do_little(service: str) -> None:
    """Ours run as a plain user on a read-only file system without capabilities."""
    ours = SERVICES[service]
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert ours["security_opt"] == ["no-new-privileges:true"]
    dockerfile = (ROOT / ours["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("service", ["worker", "producer", "wall"])
def test_containers_are_given_time_to_drain(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grace period is longer than the role's own drain."""
    settings = _settings(service, monkeypatch)
    grace_s = float(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    drain_s = (
        settings.drain_timeout_ms / 1000 if isinstance(settings, WorkerSettings) else LONGEST_END_S[service]
    )
    assert grace_s > drain_s


def test_prometheus_scrapes_the_services_by_name() -> None:
    """Every target in the scrape configuration is a service, an alias of one, or Prometheus itself."""
    text = (ROOT / "dashboards" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    aliases = {
        a for s in SERVICES.values() for a in s.get("networks", {}).get("default", {}).get("aliases", [])
    }
    hosts = set()
    for job in yaml.safe_load(text)["scrape_configs"]:
        hosts |= {name for found in job.get("dns_sd_configs", []) for name in found["names"]}
        hosts |= {t.split(":")[0] for fixed in job.get("static_configs", []) for t in fixed["targets"]}
    assert hosts <= set(SERVICES) | aliases | {"127.0.0.1"}
    assert "worker" in hosts


@pytest.mark.parametrize("service", ["worker", "producer"])
def test_admin_ports_are_asked_where_they_listen(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One port, open to other containers alone: the health check asks it, and Prometheus scrapes it."""
    settings = _settings(service, monkeypatch)
    assert isinstance(settings, WorkerSettings | ProducerSettings)
    assert settings.admin_host == "0.0.0.0"  # noqa: S104  # a container's own address is not known beforehand
    assert SERVICES[service]["expose"] == [str(settings.admin_port)]
    assert f"http://127.0.0.1:{settings.admin_port}/readyz" in SERVICES[service]["healthcheck"]["test"][-1]
    text = (ROOT / "dashboards" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    (found,) = jobs[f"riverlens-{service}"]["dns_sd_configs"]
    assert (found["names"], found["port"]) == ([service], settings.admin_port)


def test_the_wall_is_seen_from_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is published on loopback at its own port, and asks every worker where it serves figures."""
    settings = _settings("wall", monkeypatch)
    assert isinstance(settings, WallSettings)
    port = settings.wall_port
    assert SERVICES["wall"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f":{port}/healthz" in SERVICES["wall"]["healthcheck"]["test"][-1]
    assert settings.metrics_url == (f"dns:///worker:{SERVICES['worker']['expose'][0]}/metrics",)


@pytest.mark.parametrize("service", SERVICES)
def test_no_program_gains_rights(service: str) -> None:
    """Every container runs with no-new-privileges."""
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


def test_alert_rules_are_mounted() -> None:
    """Each rule file that Prometheus is told of lies in the folder that its container gets."""
    folder = ROOT / "dashboards" / "prometheus"
    config = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
    assert "./dashboards/prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    for pattern in config["rule_files"]:
        assert list(folder.glob(pattern)), pattern


@pytest.mark.parametrize("dockerfile", ["worker/Dockerfile", "producer/Dockerfile"])
def test_images_copy_what_the_build_may_see(dockerfile: str) -> None:
    """Each file that an image copies from here is there and not hidden by .dockerignore."""
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    for line in (ROOT / dockerfile).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            for source in words[1:-1]:
                assert (ROOT / source).exists(), source
                assert source == "." or source.split("/")[0] in allowed, f"{source} is ignored"
