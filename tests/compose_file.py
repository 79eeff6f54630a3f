"""docker-compose.yml, and docker-compose.tls.yml over it, as the tests read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE_FILE = ROOT / "docker-compose.yml"
TLS_FILE = ROOT / "docker-compose.tls.yml"
_REPLACED = {"command", "entrypoint", "test"}
"""Lists that a further file replaces; others it adds to (the Compose specification, section Merge)."""


def load_compose(path: Path = COMPOSE_FILE) -> dict[str, Any]:
    """A file with its anchors and merges resolved."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def load_with_tls() -> dict[str, Any]:
    """What `docker compose -f docker-compose.yml -f docker-compose.tls.yml` runs."""
    merged = _merge(load_compose(), load_compose(TLS_FILE), "")
    assert isinstance(merged, dict)
    return merged


def _merge(below: Any, above: Any, key: str) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        names = [*below, *(name for name in above if name not in below)]
        return {
            name: _merge(below[name], above[name], name)
            if name in below and name in above
            else above.get(name, below.get(name))
            for name in names
        }
    if isinstance(below, list) and isinstance(above, list) and key not in _REPLACED:
        return [*below, *above]
    return above
