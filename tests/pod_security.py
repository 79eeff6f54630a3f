"""Kubernetes' Pod Security Standard `restricted`, and what we ask of a pod beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}


def violations(template: dict[str, Any]) -> list[str]:
    """A line for each thing about a pod template that the standard forbids, or that we do."""
    spec = template["spec"]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    return [
        *_of_pod(spec),
        *(f"{each['name']}: {line}" for each in containers for line in _of_container(each)),
    ]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{key} is set"
    for volume in spec.get("volumes", []):
        if not (set(volume) - {"name"}) <= _VOLUMES | {"secret"}:
            yield f"volume {volume['name']} is of a forbidden kind"
    context = spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "carries a token for Kubernetes' API"
    if spec.get("serviceAccountName", "default") == "default":
        yield "uses the namespace's default account"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables named after Services"


def _of_container(container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
        yield "keeps capabilities"
    if not context.get("readOnlyRootFilesystem"):
        yield "may write to its image"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})):
        yield "asks for no resources"
    if "memory" not in resources.get("limits", {}):
        yield "has no limit of memory"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "takes a port of the host"
