"""What kustomize makes of deploy/, against Kubernetes' and KEDA's schemas, and as programs see it."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from riverlens.settings import Settings, load
from riverlens.topics import TopicsSettings
from riverlens_wall.settings import WallSettings
from riverlens_worker.settings import WorkerSettings
from tests.compose_file import load_compose
from tests.harness.security import Authority
from tests.keda_scalers import trigger_mistakes
from tests.manifests import DEPLOY, Manifest, build, one, pods, read
from tests.openapi import mistakes
from tests.pod_security import violations

# The first run builds kustomize.
pytestmark = [pytest.mark.tools, pytest.mark.timeout(600)]

MTLS = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{base}]
components: [{components}/topics, {components}/kafka-mtls]
"""
VARIANTS = ("base", "gpu", "secured", "mtls")
WORKER = "riverlens-worker"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What people may apply, by name; `mtls` is made here, as its README says."""
    mtls = tmp_path_factory.mktemp("mtls").resolve()
    paths = {name: os.path.relpath(DEPLOY / name, mtls) for name in ("base", "components")}
    (mtls / "kustomization.yaml").write_text(MTLS.format(**paths))
    overlays = DEPLOY / "overlays"
    return {"base": DEPLOY / "base", "gpu": overlays / "gpu", "secured": overlays / "secured", "mtls": mtls}


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest, folders: dict[str, Path]) -> list[Manifest]:
    """One variant, built."""
    return copy.deepcopy(build(folders[request.param]))


def test_the_schemas_accept_every_manifest(manifests: list[Manifest]) -> None:
    """Kubernetes, KEDA and the Prometheus operator know every field, type and value."""
    assert len(manifests) >= 12
    wrong = {f"{each['kind']} {each['metadata']['name']}": mistakes(each) for each in manifests}
    assert {name: lines for name, lines in wrong.items() if lines} == {}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "terminationGracePeriod"), 20),
        ("Deployment", ("spec", "template", "spec", "enableServiceLinks"), "no"),
        ("Deployment", ("spec", "strategy", "rollingUpdate", "maxSurge"), {"value": 1}),
        ("PodDisruptionBudget", ("spec", "maxAvailable"), 1),
        ("NetworkPolicy", ("spec", "egres"), []),
        ("ScaledObject", ("spec", "maxReplicas"), 12),
        ("ScaledObject", ("spec", "fallback", "behavior"), "currentReplicasIfMore"),
        ("ScaledObject", ("spec", "triggers", 0, "metricType"), 1),
    ],
)
def test_the_schemas_find_mistakes(
    folders: dict[str, Path], kind: str, path: tuple[str | int, ...], value: object
) -> None:
    """The same check refuses misspelt fields and wrong types, so passing it means something."""
    wrong = copy.deepcopy(next(each for each in build(folders["base"]) if each["kind"] == kind))
    place: Any = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert mistakes(wrong)


def _triggers(manifests: list[Manifest]) -> list[tuple[dict[str, Any], set[str]]]:
    """Every trigger, with the names of the secrets that its TriggerAuthentication brings."""
    found = []
    for scaled in (each for each in manifests if each["kind"] == "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            name = trigger.get("authenticationRef", {}).get("name")
            auth = one(manifests, "TriggerAuthentication", name)["spec"]["secretTargetRef"] if name else []
            found.append((trigger, {each["parameter"] for each in auth}))
    return found


def test_the_scalers_read_every_name_in_their_metadata(manifests: list[Manifest]) -> None:
    """KEDA's scalers know each key and secret, get all that they require, and refuse no pair of them."""
    triggers = _triggers(manifests)
    assert len(triggers) >= 2
    assert [line for trigger, secrets in triggers for line in trigger_mistakes(trigger, secrets)] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"lagTreshold": "5"}, "lagTreshold: the scaler does not read it"),
        ({"limitToPartitionsWithLag": "true"}, "refuses both together"),
        ({"offsetResetPolicy": "first"}, "is none of"),
        ({"lagThreshold": 5}, "in quotes"),
    ],
)
def test_the_check_of_scalers_finds_mistakes(
    folders: dict[str, Path], change: dict[str, Any], told: str
) -> None:
    """A misspelt key, a forbidden pair, an unknown value and a number without quotes are each named."""
    (trigger, secrets), *_ = _triggers(copy.deepcopy(build(folders["base"])))
    trigger["metadata"] |= change
    (line,) = trigger_mistakes(trigger, secrets)
    assert told in line


def test_pods_keep_to_the_restricted_standard(manifests: list[Manifest]) -> None:
    """No pod is root, writes to its image, holds capabilities or a token, or runs without limits."""
    namespace = one(manifests, "Namespace", "riverlens")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    wrong = {name: violations(template) for name, template in pods(manifests)}
    assert len(wrong) >= 2
    assert {name: lines for name, lines in wrong.items() if lines} == {}


def test_the_loader_may_run_where_the_others_may() -> None:
    """The pod that models are copied through is valid, restricted, and writes as the user who reads."""
    (loader,) = read("models-loader.yaml")
    assert mistakes(loader) == []
    assert violations(loader) == []
    server = one(read("base", "model-server.yaml"), "Deployment", "model-server")["spec"]["template"]["spec"]
    assert loader["spec"]["securityContext"]["runAsUser"] == server["securityContext"]["runAsUser"]


def test_the_check_of_pods_finds_mistakes(folders: dict[str, Path]) -> None:
    """Each protection taken away from the worker's pod is missed by the same check."""
    _, template = next(pods(copy.deepcopy(build(folders["base"]))))
    template["spec"].pop("automountServiceAccountToken")
    template["spec"]["securityContext"]["runAsNonRoot"] = False
    template["spec"]["containers"][0]["securityContext"] = {}
    assert len(violations(template)) == 5


def test_every_name_leads_somewhere(manifests: list[Manifest]) -> None:
    """Accounts, ConfigMaps and volumes exist; budgets and policies select pods; all is in one namespace."""
    assert {each["metadata"].get("namespace") for each in manifests} == {"riverlens", None}
    names = {(each["kind"], each["metadata"]["name"]) for each in manifests}
    labels = [template["metadata"]["labels"] for _, template in pods(manifests)]
    for each in manifests:
        spec = each.get("spec", {})
        selectors = {
            "PodDisruptionBudget": "selector",
            "NetworkPolicy": "podSelector",
            "PodMonitor": "selector",
        }
        if each["kind"] in selectors:
            wanted = spec[selectors[each["kind"]]].get("matchLabels", {})
            assert any(wanted.items() <= have.items() for have in labels), each["metadata"]["name"]
        if each["kind"] == "Service":
            assert any(spec["selector"].items() <= have.items() for have in labels), each["metadata"]["name"]
        if each["kind"] == "ScaledObject":
            assert ("Deployment", spec["scaleTargetRef"]["name"]) in names
            assert "replicas" not in one(manifests, "Deployment", spec["scaleTargetRef"]["name"])["spec"]
    for name, template in pods(manifests):
        spec = template["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}, name
        maps = [volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume]
        maps += [source["configMapRef"]["name"] for source in spec["containers"][0].get("envFrom", [])]
        assert {("ConfigMap", each) for each in maps} <= names


def _environment(manifests: list[Manifest], template: Manifest, secrets: Path) -> dict[str, str]:
    """What a container's program finds; secrets become what tests can use, files at `secrets`."""
    spec = template["spec"]
    (container,) = spec["containers"]
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= one(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
    for variable in container["env"]:
        value = variable.get("value", "from-a-secret")
        folder, _, file = value.rpartition("/")
        if value.startswith("/etc/riverlens/"):
            secret = volumes[mounts[folder]]
            assert secret, f"{value}: no secret is mounted there"
            given = [item["path"] for item in secret.get("items", [])]
            assert not given or file in given, f"{value}: not among the files mounted there"
            value = str(secrets / file)
        assert variable["name"] not in found, f"{variable['name']} is set twice"
        found[variable["name"]] = value
    return found


ROLES: dict[str, type[Settings]] = {
    "riverlens-worker": WorkerSettings,
    "riverlens-topics": TopicsSettings,
    "riverlens-wall": WallSettings,
}


def test_programs_accept_their_environment(
    manifests: list[Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Variables, secrets and mounted certificates of each pod are settings that its program takes."""
    authority = Authority(tmp_path, name="ca")
    mine = authority.issue("worker")
    for file, content in (("ca.crt", authority.file), ("tls.crt", mine.certificate), ("tls.key", mine.key)):
        (tmp_path / file).write_bytes(content.read_bytes())
    asked = 0
    for name, template in pods(manifests):
        if name not in ROLES:
            continue
        with monkeypatch.context() as context:
            for variable, value in _environment(manifests, template, tmp_path).items():
                context.setenv(variable, value)
            load(ROLES[name], [], prog=name)
        asked += 1
    assert asked >= 1
    assert caplog.messages == []


def test_the_gpu_overlay_asks_for_a_gpu(folders: dict[str, Path]) -> None:
    """The model server gets a GPU, its image, its nodes and no second copy while one is replaced."""
    spec = one(build(folders["gpu"]), "Deployment", "model-server")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["image"].endswith("-gpu")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert spec["template"]["spec"]["nodeSelector"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert {variable["name"] for variable in container["env"]} >= {"TMPDIR", "TF_FORCE_GPU_ALLOW_GROWTH"}


def test_containers_and_cluster_read_the_same_serving_files(folders: dict[str, Path]) -> None:
    """The ConfigMap's contents are serving/gpu's files, and the arguments are those of docker-compose.yml."""
    manifests = build(folders["base"])
    (config,) = (each for each in manifests if each["metadata"]["name"].startswith("serving-config-"))
    folder = DEPLOY.parent / "serving" / "gpu"
    assert config["data"] == {path.name: path.read_text() for path in folder.glob("*.config")}
    arguments = one(manifests, "Deployment", "model-server")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    assert set(load_compose()["x-serving"]["command"]) <= set(arguments)
