"""`python -m riverlens_dashboards`: the dashboards' JSON, the tables of docs/operations.md. Same sources, same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from riverlens_dashboards import cameras, model_server, overview, why_slow
from riverlens_dashboards.page import PAGE, filled

FOLDER = Path(__file__).resolve().parents[1] / "grafana" / "dashboards"


def files() -> Iterator[tuple[Path, str]]:
    """Each made file and what belongs into it."""
    for name, module in {
        "overview": overview,
        "why-slow": why_slow,
        "cameras": cameras,
        "model-server": model_server,
    }.items():
        text = json.dumps(module.dashboard(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        yield FOLDER / f"{name}.json", f"{text}\n"
    yield PAGE, filled(PAGE.read_text(encoding="utf-8"))


def main() -> None:
    """Write them all."""
    for path, text in files():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
