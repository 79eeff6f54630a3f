"""What KEDA's scalers take in a trigger's `metadata`, from their source: to the schema it is free text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.go_modules import KEDA, module_folder

_STRUCT = {
    "kafka": ("kafka_scaler.go", "kafkaMetadata"),
    "prometheus": ("prometheus_scaler.go", "prometheusMetadata"),
}
_TAG = re.compile(r'`keda:"([^"]*)"`')
_EXCLUSIVE = (
    ("allowIdleConsumers", "limitToPartitionsWithLag"),
    ("limitToPartitionsWithLag", "ensureEvenDistributionOfPartitions"),
)
"""Pairs that the Kafka scaler's `Validate` refuses."""


@dataclass(frozen=True, slots=True)
class _Field:
    sources: frozenset[str]
    required: bool
    enum: frozenset[str]


def _fields(scaler: str) -> dict[str, _Field]:
    file, struct = _STRUCT[scaler]
    source = (module_folder(KEDA) / "pkg" / "scalers" / file).read_text(encoding="utf-8")
    found = re.search(rf"^type {struct} struct {{\n(.*?)^}}", source, re.MULTILINE | re.DOTALL)
    assert found, f"{file} has no {struct} any more"
    fields = {}
    for tag in _TAG.findall(found[1]):
        parts = dict(part.strip().partition("=")[::2] for part in tag.split(","))
        if "name" not in parts:
            continue
        fields[parts["name"]] = _Field(
            frozenset(parts["order"].split(";")),
            not {"optional", "default"} & set(parts),
            frozenset(parts.get("enum", "").split(";")) - {""},
        )
    return fields


def trigger_mistakes(trigger: dict[str, Any], parameters: set[str]) -> list[str]:
    """A line for each name or value that the scaler would overlook or refuse.

    `parameters`: what the trigger's TriggerAuthentication brings.
    """
    fields, metadata = _fields(trigger["type"]), trigger["metadata"]
    wrong = []
    for key, value in metadata.items():
        field = fields.get(key) or fields.get(key.removesuffix("FromEnv"))
        source = "triggerMetadata" if key in fields else "resolvedEnv"
        if field is None or source not in field.sources:
            wrong.append(f"{key}: the scaler does not read it")
        elif not isinstance(value, str):
            wrong.append(f"{key}: a text is wanted, in quotes")
        elif field.enum and value not in field.enum:
            wrong.append(f"{key}: {value} is none of {sorted(field.enum)}")
    given = {key.removesuffix("FromEnv") for key in metadata} | parameters
    wrong += [f"{name}: missing" for name, field in fields.items() if field.required and name not in given]
    wrong += [
        f"{parameter}: the scaler takes no such secret"
        for parameter in parameters
        if parameter not in fields or "authParams" not in fields[parameter].sources
    ]
    return wrong + [
        f"{first} and {second}: the scaler refuses both together"
        for first, second in _EXCLUSIVE
        if metadata.get(first) == metadata.get(second) == "true"
    ]
