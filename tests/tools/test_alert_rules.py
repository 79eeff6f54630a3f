"""Every alert, and the bottleneck, by promtool: told by its cause, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alert_causes import CAUSES
from tests.alert_series import EVERY_S, Cause, changed, ordinary
from tests.dashboard_queries import RULES, alerts
from tests.debian_tools import run_tool

pytestmark = pytest.mark.tools

_LATE = "30m"
_FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _waits(name: str) -> int:
    return _seconds(next(alert for alert in alerts() if alert["alert"] == name).get("for", "0s"))


def _expected(cause: Cause) -> list[dict[str, Any]]:
    firing = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(cause.alerts)]
    told = [{"labels": 'riverlens:bottleneck{job="riverlens-worker"}', "value": cause.bottleneck}]
    return [
        {"expr": _FIRING, "eval_time": _LATE, "exp_samples": firing},
        {"expr": "riverlens:bottleneck", "eval_time": _LATE, "exp_samples": told},
        *(
            # An alert that waits says nothing before its time.
            {
                "expr": f'ALERTS{{alertstate="firing",alertname="{name}"}}',
                "eval_time": f"{_waits(name) // 2}s",
                "exp_samples": [],
            }
            for name in sorted(cause.alerts)
            if _waits(name)
        ),
    ]


def _test_of(cause: Cause) -> dict[str, Any]:
    series = changed(ordinary(), cause.changes)
    return {
        "interval": f"{EVERY_S}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": _expected(cause),
    }


@pytest.mark.parametrize("name", [path.name for path in RULES])
def test_promtool_accepts_the_rules(name: str) -> None:
    """`promtool check rules` finds nothing wrong, in expressions and templates."""
    run_tool("promtool", "check", "rules", str(RULES[0].parent / name))


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_cause_fires_its_alerts_and_no_others(cause: Cause, tmp_path: Path) -> None:
    """Half an hour after a cause its alerts fire, no others, and the bottleneck is told rightly."""
    content = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": f"{EVERY_S}s",
        "tests": [_test_of(cause)],
    }
    path = tmp_path / "cause.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    run_tool("promtool", "test", "rules", str(path))


def test_every_alert_has_a_cause() -> None:
    """No alert was never seen to fire, and ordinary times are among the causes, with none."""
    names = {alert["alert"] for alert in alerts()}
    assert {name for cause in CAUSES for name in cause.alerts} == names
    assert not CAUSES[0].changes
    assert not CAUSES[0].alerts
    assert {cause.bottleneck for cause in CAUSES} == set(range(10))
