"""deploy/ says what it means: settings that exist, times that fit, names that meet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from riverlens.settings import load
from riverlens.topics import TopicsSettings
from riverlens_wall.settings import WallSettings
from riverlens_worker.metrics import Metrics
from riverlens_worker.settings import WorkerSettings
from tests.manifests import DEPLOY, ROOT, one, read, read_env

WORKER = one(read("base", "worker.yaml"), "Deployment", "riverlens-worker")
MODELS = one(read("base", "model-server.yaml"), "Deployment", "model-server")
(SCALING,) = read("base", "scaling.yaml")
VARIABLES = read_env("base", "worker.env")
LEAVE_S = 10
"""The last commit and the leave take 3 s each at most, by the pipeline; the rest is for a slow node."""


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = _pod(deployment)["containers"]
    assert isinstance(container, dict)
    return container


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    """The worker's settings as the ConfigMap gives them."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return load(WorkerSettings, [], prog="riverlens worker run")


def test_every_variable_is_a_setting(settings: WorkerSettings, caplog: pytest.LogCaptureFixture) -> None:
    """worker.env holds names that the worker reads, none twice, and together they are valid."""
    assert len((DEPLOY / "base" / "worker.env").read_text().split("\nRIVERLENS_")) - 1 == len(VARIABLES)
    assert caplog.messages == []
    assert settings.server.startswith("dns:///")


def test_the_worker_has_time_to_drain(settings: WorkerSettings) -> None:
    """Kubernetes kills a worker only after its drain, its last commit and its leave are surely over."""
    assert _pod(WORKER)["terminationGracePeriodSeconds"] >= settings.drain_timeout_ms / 1000 + LEAVE_S


def test_a_model_server_stays_until_nobody_asks_it() -> None:
    """Its end waits for two look-ups of the headless name, and leaves calls under way time after that."""
    (_, seconds) = _container(MODELS)["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) >= 2 * 5
    assert _pod(MODELS)["terminationGracePeriodSeconds"] >= int(seconds) + 10


def test_probes_ask_pages_that_exist(settings: WorkerSettings) -> None:
    """Start and life ask /healthz, readiness /readyz, on the admin port that the settings open to the pod."""
    container = _container(WORKER)
    assert container["ports"] == [{"name": "metrics", "containerPort": settings.admin_port}]
    assert settings.admin_host == "0.0.0.0"  # noqa: S104  # the pod's own address is not known beforehand
    asked = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")
    }
    assert asked == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    annotations = WORKER["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.admin_port)


def test_the_worker_finds_its_model(settings: WorkerSettings) -> None:
    """The headless Service has the name and port that the worker looks up; the model is the one served."""
    service = one(read("base", "model-server.yaml"), "Service", "model-server")
    assert service["spec"]["clusterIP"] == "None"
    port = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc")
    assert settings.server == f"dns:///{service['metadata']['name']}:{port}"
    config = (ROOT / "serving" / "gpu" / "models.config").read_text(encoding="utf-8")
    assert f'name: "{settings.model}"' in config
    for probe in ("startupProbe", "readinessProbe"):
        assert _container(MODELS)[probe]["httpGet"]["path"] == f"/v1/models/{settings.model}"


def test_the_autoscaler_alone_counts_workers() -> None:
    """The worker's Deployment has no number of replicas, and nothing else in deploy/ scales it."""
    assert "replicas" not in WORKER["spec"]
    assert SCALING["spec"]["scaleTargetRef"] == {"name": WORKER["metadata"]["name"]}
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.rglob("*.yaml")]
    assert not [text for text in texts if "kind: HorizontalPodAutoscaler" in text]


def test_scaling_ends_at_the_partitions(settings: WorkerSettings) -> None:
    """There are never more workers than partitions of the frames topic as `riverlens topics` makes it."""
    assert SCALING["spec"]["maxReplicaCount"] == TopicsSettings.default().partitions
    frames, seconds = SCALING["spec"]["triggers"]
    assert (frames["type"], seconds["type"]) == ("kafka", "prometheus")
    named = {key: value for key, value in frames["metadata"].items() if key.endswith("FromEnv")}
    assert set(named) == {"bootstrapServersFromEnv", "consumerGroupFromEnv", "topicFromEnv"}
    assert set(named.values()) <= set(VARIABLES)
    # Half a second of frames lies between read and committed, whatever the load.
    assert int(frames["metadata"]["lagThreshold"]) >= 2 * settings.room_frames


def test_scaling_defaults_are_safe() -> None:
    """Up at most doubles, down goes by one after minutes; without answers nothing shrinks."""
    spec = SCALING["spec"]
    behaviour = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behaviour["scaleUp"]["selectPolicy"] == "Min"
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert [policy["value"] for policy in behaviour["scaleDown"]["policies"]] == [1]
    assert spec["minReplicaCount"] >= 1
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    metadata = spec["triggers"][0]["metadata"]
    assert metadata["excludePersistentLag"] == metadata["ensureEvenDistributionOfPartitions"] == "true"
    assert metadata["offsetResetPolicy"] == "earliest"


@pytest.mark.parametrize("path", ["base/scaling.yaml", "components/scale-models/scaled-object.yaml"])
def test_queries_name_metrics_of_the_worker(path: str) -> None:
    """Each riverlens_ name in an autoscaler's query is one that the worker exports."""
    registry = CollectorRegistry()
    Metrics(registry)
    declared = set(registry._names_to_collectors)  # no public view of names without series
    (scaled,) = read(*path.split("/"))
    queries = [trigger["metadata"].get("query", "") for trigger in scaled["spec"]["triggers"]]
    names = set(re.findall(r"riverlens_\w+", " ".join(queries)))
    assert names
    assert names <= declared


def test_the_wall_sees_every_worker_and_is_seen_by_none(settings: WorkerSettings) -> None:
    """It asks the headless name of all workers where they serve figures, and listens on its own loopback."""
    found = read("components", "wall", "wall.yaml")
    container = _container(one(found, "Deployment", "riverlens-wall"))
    service = one(found, "Service", "riverlens-workers")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == WORKER["spec"]["selector"]["matchLabels"]
    (port,) = service["spec"]["ports"]
    assert port["port"] == settings.admin_port
    asked = f"dns:///{service['metadata']['name']}:{settings.admin_port}/metrics"
    assert {"name": "RIVERLENS_METRICS_URL", "value": asked} in container["env"]
    wall = load(WallSettings, container["args"][1:], prog="riverlens wall")
    assert wall.wall_host == "127.0.0.1"
    assert "ports" not in container
    for probe in ("readinessProbe", "livenessProbe"):
        assert f"http://127.0.0.1:{wall.wall_port}/healthz" in container[probe]["exec"]["command"][-1]


def test_every_part_is_explained() -> None:
    """deploy/README.md names each overlay and component."""
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    parts = [path.parent for path in DEPLOY.rglob("kustomization.yaml")]
    assert len(parts) >= 9
    assert [str(part) for part in parts if part.name not in text] == []


_IMAGE = re.compile(r"(?:image:|newName:|FROM)\s+([^\s,}]+)")


def _images() -> list[tuple[str, str]]:
    files = [
        *DEPLOY.rglob("*.yaml"),
        *ROOT.glob("docker-compose*.yml"),
        *(ROOT / role / "Dockerfile" for role in ("worker", "producer")),
    ]
    return [
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in _IMAGE.findall(path.read_text(encoding="utf-8"))
    ]


def test_no_registry_is_named() -> None:
    """Images carry short names: which registry they come from is for whoever installs to say."""
    images = _images()
    assert len({path for path, _ in images}) >= 5
    hosts = [(path, name) for path, name in images if re.match(r"[^/]*[.:][^/]*/", name)]
    assert hosts == []


def test_secrets_are_not_in_the_repository() -> None:
    """deploy/ makes no Secret: it names those that must exist."""
    made = [
        str(Path(path).relative_to(ROOT))
        for path in DEPLOY.rglob("*.yaml")
        if re.search(r"kind: Secret$|secretGenerator", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert made == []
