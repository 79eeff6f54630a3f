"""docs/events.md: its made parts are those of the schemas, its examples are events, its TOML is settings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

import riverlens
from riverlens.dead_letter import Reason
from riverlens.schemas import load as schema
from riverlens.settings import load
from riverlens_worker.settings import WorkerSettings
from scripts.events_page import CLASSES, DEAD_LETTER, DROP, EVENT, OUTPUTS, PAGE, filled

TEXT = PAGE.read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def _validate(name: Literal["event", "drop", "dead_letter"], body: object) -> None:
    formats = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(schema(name), format_checker=formats).validate(body)


def test_the_page_is_as_it_is_made() -> None:
    """`make docs` would change nothing."""
    assert filled(TEXT) == TEXT, "run make docs"


def test_a_page_without_a_part_is_refused() -> None:
    """A mark that somebody deleted is not passed over."""
    with pytest.raises(ValueError, match="no part drop fields"):
        filled(TEXT.replace("<!-- made: drop fields -->", ""))


@pytest.mark.parametrize("event", [EVENT, CLASSES, OUTPUTS], ids=["detections", "classes", "outputs"])
def test_the_examples_are_events(event: riverlens.Event) -> None:
    """Each holds to the schema, and `read_event` gives back what it was made of."""
    _validate("event", json.loads(event.to_json()))
    assert riverlens.read_event(event.to_json(), event.headers()) == event


def test_the_other_examples_hold_to_their_schemas() -> None:
    """The drop's value, and the dead letter's own headers."""
    _validate("drop", json.loads(DROP.to_json()))
    assert riverlens.read_event(DROP.to_json(), DROP.headers()) == DROP
    ours = {name: value.decode() for name, value in DEAD_LETTER if name.startswith("dlq-")}
    _validate("dead_letter", ours)


def test_what_the_page_shows_is_the_examples() -> None:
    """The JSON blocks, line breaks aside, are the records' values or parts of them."""
    event, classes, outputs, drop = (json.loads(text) for text in _blocks("json"))
    assert event == json.loads(EVENT.to_json())
    assert classes["classes"] == json.loads(CLASSES.to_json())["classes"]
    assert outputs["outputs"] == json.loads(OUTPUTS.to_json())["outputs"]
    assert drop == json.loads(DROP.to_json())


def _names(found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every field that a schema knows, however deep."""
    for name, field in found.get("properties", {}).items():
        yield f"{prefix}{name}"
        inner, mark = (field["items"], "[].") if "items" in field else (field, ".")
        yield from _names(inner, f"{prefix}{name}{mark}")


@pytest.mark.parametrize("name", ["event", "drop", "dead_letter"])
def test_every_field_stands_in_a_table(name: Literal["event", "drop", "dead_letter"]) -> None:
    """Nothing that a record may hold is left unexplained."""
    assert all(f"| `{field}` |" in TEXT for field in _names(schema(name)))


def test_every_reason_is_explained() -> None:
    """A consumer that switches on a dead letter's reason finds all of them."""
    assert all(f"| `{reason.value}` | " in TEXT for reason in Reason)


def test_the_settings_of_the_page_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each TOML block loads, and so do the flags that the page names."""
    for name in [name for name in os.environ if name.startswith("RIVERLENS_")]:
        monkeypatch.delenv(name)
    prog = "riverlens worker run"
    chosen, changes = (
        _from_file(tmp_path / f"{number}.toml", text) for number, text in enumerate(_blocks("toml"))
    )
    assert [zone.name for zone in chosen.zones] == ["door", "pavement"]
    assert (changes.events, changes.changes_hold_ms) == ("changes", 500)
    flags = re.findall(r"`(--[\w-]+) '([^']+)'`", TEXT)
    assert [name for name, _ in flags] == ["--only-labels", "--zones"]
    found = load(WorkerSettings, [word for flag in flags for word in flag], prog=prog)
    assert found.only_labels == ("person", "car*")
    assert found.zones[0].cameras == "gate-*"


def _from_file(file: Path, text: str) -> WorkerSettings:
    file.write_text(text, encoding="utf-8")
    return load(WorkerSettings, ["--config", str(file)], prog="riverlens worker run")


def test_every_setting_of_the_choice_is_on_the_page() -> None:
    """Filters, zones and changes: each by its name."""
    names = (
        "only_labels",
        "skip_labels",
        "min_scores",
        "min_box_area",
        "max_box_area",
        "zones",
        "only_zones",
    )
    assert all(name in WorkerSettings.model_fields for name in names)
    for name in (*names, "max_detections", "events", "changes_hold_ms", "publish_drops", "delivery"):
        assert re.search(rf"(`|^|\.){name}\b", TEXT, re.MULTILINE), name
