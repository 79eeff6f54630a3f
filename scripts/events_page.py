"""Write the parts of docs/events.md that are made: tables of the schemas' fields, and examples.

    python -m scripts.events_page

The schemas are those of `riverlens/schemas`; the examples are what riverlens' own types write.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from riverlens import dead_letter
from riverlens.dead_letter import Origin, Reason, dead_letter_headers
from riverlens.drop import Drop, DropReason
from riverlens.event import Classification, Detection, Event, Model
from riverlens.schemas import load
from scripts.made_parts import fill

PAGE = Path(__file__).resolve().parents[1] / "docs" / "events.md"
_LINE = 118
_CAPTURED_MS = 1_790_683_200_033
_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

EVENT = Event(
    origin=Origin("frames", 3, 18_204),
    camera_id="gate-1",
    frame_id="gate-1-000912",
    sequence=912,
    captured_at_ms=_CAPTURED_MS,
    image_size=(1280, 720),
    model=Model("street", 7, "serving_default"),
    timing_ms={"broker": 12.4, "queue": 6.1, "decode": 3.8, "predict": 41.7, "total": 66.0},
    batch_size=16,
    batch_reason="device_free",
    detections=[
        Detection("person", 1, 0.9312, (0.4141, 0.3528, 0.4766, 0.7306), ("door", "pavement")),
        Detection("car", 3, 0.8127, (0.0508, 0.4208, 0.2398, 0.6194), ()),
    ],
    traceparent=_TRACE,
)
CLASSES = replace(
    EVENT,
    detections=None,
    classes=[Classification("digit-7", 7, 0.9874), Classification("digit-1", 1, 0.0093)],
)
OUTPUTS = replace(EVENT, detections=None, outputs={"depth": [[2.25, 2.5], [8.0, 7.75]]})
DROP = Drop(
    origin=Origin("frames", 3, 18_205),
    camera_id="gate-1",
    frame_id="gate-1-000913",
    sequence=913,
    captured_at_ms=_CAPTURED_MS + 100,
    reason=DropReason.SUPERSEDED.value,
    age_ms=231.5,
    traceparent=_TRACE,
)
DEAD_LETTER = dead_letter_headers(
    [("frame-id", b"gate-1-000914"), ("sequence", b"914")],
    origin=Origin("frames", 3, 18_206),
    reason=Reason.UNDECODABLE,
    detail="JPEG: it ends after 20480 bytes, before its last rows",
    at_ms=_CAPTURED_MS + 480,
    captured_at_ms=_CAPTURED_MS + 200,
)


def filled(page: str) -> str:
    """The page with its made parts as they should be.

    Raises:
        ValueError: a part's marks are missing.
    """
    return fill(page, "docs/events.md", _parts())


def _parts() -> dict[str, Iterator[str]]:
    return {
        "event": _record(EVENT.headers(), json.loads(EVENT.to_json())),
        "event fields": _fields(load("event")),
        "classes": _json(_only(CLASSES, "classes")),
        "outputs": _json(_only(OUTPUTS, "outputs")),
        "drop": _record(DROP.headers(), json.loads(DROP.to_json())),
        "drop fields": _fields(load("drop")),
        "dead letter": _block("text", (f"{name}: {value.decode()}" for name, value in DEAD_LETTER)),
        "dead letter headers": _fields(load("dead_letter")),
        "reasons": _reasons(),
    }


def _only(event: Event, name: str) -> dict[str, Any]:
    return {name: json.loads(event.to_json())[name]}


def _record(headers: Sequence[tuple[str, bytes]], body: Mapping[str, Any]) -> Iterator[str]:
    yield from _block("text", (f"{name}: {value.decode()}" for name, value in headers))
    yield ""
    yield from _json(body)


def _block(language: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"```{language}"
    yield from lines
    yield "```"


def _json(body: Mapping[str, Any]) -> Iterator[str]:
    return _block("json", iter(_pretty(body, "").splitlines()))


def _pretty(value: Any, indent: str) -> str:
    """As JSON, what fits on a line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (indent and len(indent) + len(flat) <= _LINE):
        return flat
    inner = indent + "  "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + _pretty(each, inner) for each in value) + f"\n{indent}]"
    pairs = (f"{inner}{json.dumps(name)}: {_pretty(each, inner)}" for name, each in value.items())
    return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | type | there | meaning |"
    yield "|---|---|---|---|"
    yield from _rows(schema, "", always=True)


def _rows(schema: Mapping[str, Any], prefix: str, *, always: bool) -> Iterator[str]:
    required = set(schema.get("required", ()))
    alternatives = {name for each in schema.get("oneOf", ()) for name in each["required"]}
    for name, field in schema.get("properties", {}).items():
        there = (
            "always" if always and name in required else "one of them" if name in alternatives else "maybe"
        )
        if not always and name in required:
            there = "with it"
        yield f"| `{prefix}{name}` | {_type(field)} | {there} | {_meaning(field)} |"
        inner = field.get("items", field)
        if "properties" in inner:
            inside = f"{prefix}{name}[]." if "items" in field else f"{prefix}{name}."
            yield from _rows(inner, inside, always=there == "always" and "items" not in field)


def _type(field: Mapping[str, Any]) -> str:
    if "const" in field or "enum" in field:
        return "string"
    kind = field["type"]
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "items" in field:
        return f"{words} of {field['items']['type']}s"
    return words


def _meaning(field: Mapping[str, Any]) -> str:
    told = [field["description"]] if "description" in field else []
    if "const" in field:
        told.append(f"`{field['const']}`.")
    if "enum" in field:
        told.append(", ".join(f"`{each}`" for each in field["enum"]) + ".")
    if {"minimum", "maximum"} <= field.keys():
        told.append(f"{field['minimum']} to {field['maximum']}.")
    elif "minimum" in field:
        told.append(f"At least {field['minimum']}.")
    return " ".join(told).replace("|", "\\|").replace("<", "&lt;")


def _reasons() -> Iterator[str]:
    """What each reason of a dead letter means: the line below its name, where the code declares it."""
    module = ast.parse(Path(dead_letter.__file__).read_text(encoding="utf-8"))
    (declared,) = (n for n in module.body if isinstance(n, ast.ClassDef) and n.name == Reason.__name__)
    said = [ast.literal_eval(n.value) for n in declared.body[1:] if isinstance(n, ast.Assign | ast.Expr)]
    yield "| reason | meaning |"
    yield "|---|---|"
    yield from (f"| `{name}` | {text} |" for name, text in zip(said[::2], said[1::2], strict=True))


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
