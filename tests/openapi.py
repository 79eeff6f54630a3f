"""Manifests against Kubernetes' own schemas and those of custom resources; unknown fields are mistakes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft7Validator

from tests.go_modules import KEDA, KUBERNETES, PROMETHEUS_OPERATOR, module_folder
from tests.manifests import Manifest

_CUSTOM = {
    "ScaledObject": (KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "TriggerAuthentication": (KEDA, "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    "PrometheusRule": (
        PROMETHEUS_OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "PodMonitor": (
        PROMETHEUS_OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    ),
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def mistakes(manifest: Manifest) -> list[str]:
    """A line for everything that the API server, asked to be strict, would refuse by its schema."""
    validator = Draft7Validator(_schema(manifest["apiVersion"], manifest["kind"]))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _schema(api_version: str, kind: str) -> dict[str, Any]:
    return _custom(api_version, kind) if kind in _CUSTOM else _builtin(api_version, kind)


@cache
def _definitions() -> dict[str, Any]:
    path = module_folder(KUBERNETES) / "api" / "openapi-spec" / "swagger.json"
    definitions: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["definitions"]
    definitions[_QUANTITY] = {"type": ["string", "number"]}
    return {name: _strict(schema) for name, schema in definitions.items()}


def _builtin(api_version: str, kind: str) -> dict[str, Any]:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "kind": kind, "version": version}
    (name,) = (
        name
        for name, schema in _definitions().items()
        if wanted in schema.get("x-kubernetes-group-version-kind", ())
    )
    return {"$ref": f"#/definitions/{name}", "definitions": _definitions()}


def _custom(api_version: str, kind: str) -> dict[str, Any]:
    module, path = _CUSTOM[kind]
    definition = yaml.safe_load((module_folder(module) / path).read_text(encoding="utf-8"))
    (version,) = (each for each in definition["spec"]["versions"] if api_version.endswith(f"/{each['name']}"))
    strict = _strict(version["schema"]["openAPIV3Schema"])
    assert isinstance(strict, dict)
    strict["properties"]["metadata"] = {"type": "object"}
    return strict


def _strict(schema: Any) -> Any:
    """The same schema, refusing fields that it does not name; an int-or-string takes both."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if made.get("format") == "int-or-string" or made.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    if (
        isinstance(made.get("properties"), dict)
        and made.get("type") == "object"
        and not made.get("x-kubernetes-preserve-unknown-fields")
    ):
        made.setdefault("additionalProperties", False)
    return made
