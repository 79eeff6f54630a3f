"""The queries of dashboards and rules, read from their files: for the tests that hold them to the metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DASHBOARDS = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((ROOT / "dashboards" / "prometheus" / "rules").glob("*.yml"))

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_VARIABLES = ("$job", "$instance", "$camera", "$server")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. `name` tells them apart: dashboard, panel's title, query's letter."""

    dashboard: str
    panel: str
    letter: str
    expression: str
    legend: str

    @property
    def name(self) -> str:
        """`overview: Latency: A`."""
        return f"{self.dashboard}: {self.panel}: {self.letter}"

    def filled_in(self, interval: str) -> str:
        """The expression with Grafana's variables replaced: everything is chosen."""
        expression = self.expression.replace("$__rate_interval", interval)
        for variable in _VARIABLES:
            expression = expression.replace(variable, ".*")
        assert "$" not in expression, f"{self.name}: unknown variable: {expression}"
        return expression


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """All panels of a dashboard that show data: neither rows nor texts."""
    content = json.loads(dashboard.read_text(encoding="utf-8"))
    return [panel for panel in content["panels"] if panel["type"] not in {"row", "text"}]


def queries(dashboard: Path) -> Iterator[Query]:
    """All queries of a dashboard's panels."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Query(
                dashboard.stem, panel["title"], target["refId"], target["expr"], target["legendFormat"]
            )


def selectors(expression: str) -> dict[str, set[str]]:
    """Metrics that an expression selects, each with the labels in its braces."""
    bare = _STRING.sub('""', expression)
    return {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) for name, inside in _SELECTOR.findall(bare)
    }


def grouping(expression: str) -> set[str]:
    """Labels that an expression groups or matches by."""
    lists = _GROUPING.findall(expression)
    return {label.strip() for inside in lists for label in inside.split(",") if label.strip()}


def rules() -> list[dict[str, Any]]:
    """All recording rules and alerts, as they stand in their files."""
    contents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    return [rule for content in contents for group in content["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The alerts among them."""
    return [rule for rule in rules() if "alert" in rule]
