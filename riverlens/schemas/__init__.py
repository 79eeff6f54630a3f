"""JSON Schemas of what travels: `load("event")`, `load("frame")`, `load("dead_letter")`."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal

import orjson


def load(name: Literal["event", "frame", "dead_letter"]) -> dict[str, Any]:
    """The schema (draft 2020-12): of the event's value; of frame's and dead letter's headers as text."""
    schema: dict[str, Any] = orjson.loads(files(__name__).joinpath(f"{name}.schema.json").read_bytes())
    return schema
