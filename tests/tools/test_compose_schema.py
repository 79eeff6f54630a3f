"""docker-compose.yml against the specification's own schema, without a container engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.compose_file import COMPOSE_FILE, TLS_FILE, load_compose
from tests.go_modules import COMPOSE_GO, module_folder

pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The JSON Schema that compose itself ships, from its Go module."""
    path = module_folder(COMPOSE_GO) / "schema" / "compose-spec.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("path", [COMPOSE_FILE, TLS_FILE], ids=lambda path: path.name)
def test_the_compose_files_fit_the_schema(schema: dict[str, Any], path: Path) -> None:
    """Compose's schema finds nothing wrong with either file."""
    validator = Draft7Validator(schema)
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(load_compose(path))]
    assert errors == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("worker", "depends_on", {"kafka": {"condition": "service_ready"}}),
        ("worker", "healthcheck", {"tests": ["CMD", "true"]}),
        ("kafka", "port", ["9092:9092"]),
    ],
)
def test_the_schema_finds_mistakes(schema: dict[str, Any], service: str, key: str, value: object) -> None:
    """The same check refuses an unknown condition and misspelt keys, so passing it means something."""
    wrong = load_compose()
    wrong["services"][service][key] = value
    assert list(Draft7Validator(schema).iter_errors(wrong))
