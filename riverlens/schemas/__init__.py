"""JSON Schemas of what travels: `load("event")`, `load("drop")`, `load("frame")`, `load("dead_letter")`."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal

import orjson


def load(name: Literal["event", "drop", "frame", "dead_letter"]) -> dict[str, Any]:
    """The schema (draft 2020-12): of an event's or drop's value, of frames' and dead letters' headers."""
    schema: dict[str, Any] = orjson.loads(files(__name__).joinpath(f"{name}.schema.json").read_bytes())
    return schema
