"""A dashboard's JSON against Grafana's own models: no field unknown to them, no value of another type."""

from __future__ import annotations

import enum
import json
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def misfits(content: dict[str, Any]) -> list[str]:
    """What Grafana's models would not take, each with its place; empty where all fits."""
    register_default_plugins()
    read = Dashboard.from_json(content)
    left = list(_differences(content, json.loads(json.dumps(read, cls=JSONEncoder)), "dashboard"))
    return left + list(_of_model(read, "dashboard"))


def _differences(given: Any, read: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(read, dict):
        for name in given.keys() | read.keys():
            if name not in read:
                yield f"{where}.{name}: Grafana knows no such field"
            elif name in given:
                yield from _differences(given[name], read[name], f"{where}.{name}")
    elif isinstance(given, list) and isinstance(read, list):
        for place, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif given != read:
        yield f"{where}: {given!r} was read as {read!r}"


def _of_model(value: object, where: str) -> Iterator[str]:
    for name, hint in typing.get_type_hints(type(value)).items():
        yield from _of_type(getattr(value, name), hint, f"{where}.{name}")


def _closed_list(hint: Any) -> tuple[Any, ...] | None:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(each.value for each in hint)
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None


def _of_type(value: Any, hint: Any, where: str) -> Iterator[str]:
    """How `value` misses the type `hint`, told down to the innermost value."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        inside = tuple(each for each in inside if (each is type(None)) == (value is None)) or inside
        candidates = [each for each in inside if type(value) is each] or inside
        yield from min((list(_of_type(value, each, where)) for each in candidates), key=len)
    elif origin is list and isinstance(value, list):
        for place, item in enumerate(value):
            yield from _of_type(item, inside[0], f"{where}[{place}]")
    elif origin is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from _of_type(item, inside[1], f"{where}.{name}")
    elif (words := _closed_list(hint)) is not None:
        yield from () if value in words else (f"{where}: {value!r} is none of {words}",)
    elif hint in {object, Any}:
        yield from _of_model(value, where) if hasattr(value, "to_json") else ()
    elif not isinstance(value, (int, float) if hint is float else origin or hint):
        yield f"{where}: {value!r} is no {getattr(hint, '__name__', hint)}"
    elif hasattr(value, "to_json"):
        yield from _of_model(value, where)
