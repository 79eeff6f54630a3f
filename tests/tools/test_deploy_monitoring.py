"""What Kubernetes' autoscalers and Prometheus's operator are given, held against Prometheus itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.debian_tools import run_tool
from tests.manifests import DEPLOY, ROOT, read
from tests.openapi import mistakes

pytestmark = pytest.mark.tools

TIME = "10m"
SECONDS_BEHIND = [
    ('riverlens_lag_seconds{partition="0"}', "30x60"),
    ('riverlens_lag_seconds{partition="1"}', "5x60"),
]
CASES = {
    "workers are slow": ({"riverlens_load_ratio": "0.4x60"}, 30.0, 0.4),
    "one model server is full": ({"riverlens_load_ratio": "1.3x60"}, 0.0, 1.3),
    "the load has just come": ({"riverlens_load_ratio": "0x36 1.2x24"}, 0.0, None),
    "no worker runs": (None, None, None),
}
"""Load over time; what the queries for workers and for model servers then say (None: no series, or any)."""


def _query(*path: str) -> str:
    (scaled,) = read(*path)
    (query,) = (
        trigger["metadata"]["query"]
        for trigger in scaled["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    )
    assert isinstance(query, str)
    return query


WORKERS = _query("base", "scaling.yaml")
MODELS = _query("components", "scale-models", "scaled-object.yaml")


@pytest.mark.parametrize("name", CASES)
def test_autoscalers_ask_what_they_mean(name: str, tmp_path: Path) -> None:
    """Seconds behind count while model servers have room, not once they are full; no worker, no answer."""
    load, behind, ratio = CASES[name]
    series = [] if load is None else [*SECONDS_BEHIND, *load.items()]
    expected = [(WORKERS, behind), *([(MODELS, ratio)] if ratio is not None or load is None else [])]
    tests = [
        {
            "expr": query,
            "eval_time": TIME,
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for query, value in expected
    ]
    case = {
        "interval": "15s",
        "input_series": [{"series": each, "values": values} for each, values in series],
        "promql_expr_test": tests,
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "15s", "tests": [case]}))
    run_tool("promtool", "test", "rules", str(file))


def test_the_operator_gets_every_rule() -> None:
    """The script's manifests are valid, and hold the groups of the rule files unchanged."""
    done = subprocess.run(
        ["sh", str(DEPLOY / "prometheus-rules.sh")], capture_output=True, text=True, timeout=20, check=True
    )
    made = [each for each in yaml.safe_load_all(done.stdout) if each]
    files = sorted((ROOT / "dashboards" / "prometheus" / "rules").glob("*.yml"))
    assert [each["spec"] for each in made] == [yaml.safe_load(file.read_text()) for file in files]
    assert [line for each in made for line in mistakes(each)] == []


def test_jobs_are_named_as_the_rules_know_them() -> None:
    """Pod monitors call workers as the rules' selectors want, and model servers as compose does."""
    monitors = read("components", "pod-monitors", "pod-monitors.yaml")
    jobs = {
        each["metadata"]["name"]: relabeling["replacement"]
        for each in monitors
        for endpoint in each["spec"]["podMetricsEndpoints"]
        for relabeling in endpoint["relabelings"]
        if relabeling["targetLabel"] == "job"
    }
    rules = (ROOT / "dashboards" / "prometheus" / "rules" / "recording.yml").read_text(encoding="utf-8")
    selectors = set(re.findall(r'job=~"([^"]*)"', rules))
    assert [each for each in selectors if "worker" in each]
    assert all(re.fullmatch(each, jobs["riverlens-worker"]) for each in selectors if "worker" in each)
    compose = yaml.safe_load(
        (ROOT / "dashboards" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    )
    assert jobs["tensorflow-serving"] in {each["job_name"] for each in compose["scrape_configs"]}
