"""Dashboards and rules name what is declared, ask in a way that gives numbers, and fit Grafana's schema."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from riverlens.frame_producer import ProducerStats
from riverlens_dashboards.__main__ import files
from riverlens_dashboards.bottleneck import VERDICTS
from riverlens_dashboards.page import PAGE
from riverlens_dashboards.page import RECORDED as TOLD
from riverlens_producer.camera_metrics import CameraCollector
from riverlens_producer.link import LinkStats
from riverlens_producer.summary import CameraCounts
from riverlens_serving.metrics import Histogram
from riverlens_serving.metrics import Metrics as ServerMetrics
from riverlens_worker.histograms import HistogramFamily
from riverlens_worker.metrics import Metrics
from tests.dashboard_queries import (
    DASHBOARDS,
    ROOT,
    Query,
    alerts,
    grouping,
    panels,
    queries,
    rules,
    selectors,
)
from tests.grafana_schema import misfits

# Labels that Prometheus adds to every series.
SCRAPE_LABELS = {"instance", "job"}
# What Prometheus makes itself.
OWN = {"up": set[str](), "ALERTS": {"alertname", "alertstate"}}
QUERIES = [query for dashboard in DASHBOARDS for query in queries(dashboard)]
RECORDED = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
RULES = {rule.get("record") or rule["alert"]: rule["expr"] for rule in rules()}


def _of_worker() -> dict[str, set[str]]:
    """Labels of every series the worker can export, by the series' name; `le` for buckets."""
    registry = CollectorRegistry()
    Metrics(registry)
    series: dict[str, set[str]] = {}
    for name, collector in registry._names_to_collectors.items():  # no public view of labels without series
        ours = isinstance(collector, HistogramFamily)
        labels = set(collector.labelnames if ours else collector._labelnames)  # type: ignore[attr-defined]  # the library's own, untyped
        series[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return series


def _of_process() -> dict[str, set[str]]:
    families = ProcessCollector(registry=None).collect()
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def _of_server() -> dict[str, set[str]]:
    series: dict[str, set[str]] = {}
    for family in ServerMetrics().families():
        name, labels = family._page_name, set(family._labels)  # the page shows labels only where it has cells
        if isinstance(family, Histogram):
            series |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            series[name] = labels
    return series


def _of_producer() -> dict[str, set[str]]:
    collector = CameraCollector(
        {"lobby": CameraCounts()}, {"lobby": LinkStats(captured_at_ms=1)}, ProducerStats
    )
    samples = [sample for family in collector.collect() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


DECLARED = (
    _of_worker()
    | _of_producer()
    | _of_process()
    | _of_server()
    | OWN
    | {name: grouping(expression) for name, expression in RECORDED.items()}
)


def _hold_to_declared(expression: str) -> None:
    """A query selects declared series only, by labels that they have, and groups by labels that they have."""
    found = selectors(expression) | {name: set() for name in RECORDED if name in expression}
    assert found, f"nothing is selected: {expression}"
    known_to_any = set(SCRAPE_LABELS)
    for metric, labels in found.items():
        assert metric in DECLARED, f"{metric} is not declared"
        known = DECLARED[metric] | SCRAPE_LABELS
        assert labels <= known, f"{metric} has no label {labels - known}"
        known_to_any |= known
    assert grouping(expression) <= known_to_any, f"no label {grouping(expression) - known_to_any}"
    named = set(re.findall(r"riverlens[_:][\w:]+", re.sub(r'"[^"]*"', '""', expression)))
    assert named <= set(DECLARED), named - set(DECLARED)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_every_metric_and_label_of_a_panel_is_declared(query: Query) -> None:
    """A panel asks only for series that exist, and follows the dashboard's variables in each selector."""
    _hold_to_declared(query.expression)
    chosen = ('job=~"$job"', 'instance=~"$server"', 'riverlens-producer.*"')
    variables = sum(query.expression.count(each) for each in chosen)
    assert variables == query.expression.count("{"), "a selector does not follow the choice"


@pytest.mark.parametrize("name", RULES)
def test_every_metric_and_label_of_a_rule_is_declared(name: str) -> None:
    """A rule asks only for series that exist."""
    _hold_to_declared(RULES[name])


def test_queries_have_names_of_their_own() -> None:
    """There are some, and none is another one's namesake."""
    assert len(QUERIES) >= 80
    assert len({query.name for query in QUERIES}) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_legends_name_labels_that_the_result_has(query: Query) -> None:
    """`{{label}}` in a legend is a label that the query keeps, or else the legend would be empty."""
    named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    aggregated = re.match(r"(sum|max|min|avg|count|topk|bottomk|histogram_quantile)\b", query.expression)
    kept = grouping(query.expression)
    for metric in selectors(query.expression):
        kept |= set() if aggregated else DECLARED[metric] | SCRAPE_LABELS
    assert named <= kept


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_queries_give_numbers(query: Query) -> None:
    """Rates are taken of counters, no absent series is painted as 0, and what may be 0/0 drops its NaN."""
    text = query.expression
    assert "vector(" not in text
    for metric in re.findall(r"(?:rate|increase)\s*\((riverlens_\w+)\{", text):
        assert metric.endswith(("_total", "_bucket", "_sum", "_count")), f"{metric} is no counter"
    if re.search(r" / (?!1e6)", text) or "histogram_quantile" in text:
        # A comparison with NaN is false, so idle times are gaps; what is measured here is never negative.
        assert text.endswith(">= 0"), text


def test_every_metric_is_shown() -> None:
    """No metric of the worker is declared and forgotten."""
    texts = [query.expression for query in QUERIES] + list(RULES.values())
    shown = {
        re.sub(r"_(total|bucket|sum|count)$", "", metric) for text in texts for metric in selectors(text)
    }
    registry = CollectorRegistry()
    Metrics(registry)
    assert {family.name for family in registry.collect()} - shown == set()


def test_every_recorded_series_is_used() -> None:
    """A rule that no panel, alert or other rule reads is one too many."""
    texts = [query.expression for query in QUERIES] + list(RULES.values())
    assert {name for name in RECORDED if not any(re.search(rf"{name}\b", text) for text in texts)} == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_are_explained_and_do_not_overlap(dashboard: Path) -> None:
    """Each panel has a title of its own, a text, a unit, Grafana's 24 columns, and its own place."""
    shown = panels(dashboard)
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert len(panel["description"]) > 10, panel["title"]
        has_unit = panel["type"] == "heatmap" or "unit" in panel["fieldConfig"]["defaults"]
        assert has_unit, panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
    for one, other in combinations(shown, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart or above, f"{one['title']} overlaps {other['title']}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_can_be_imported_anywhere(dashboard: Path) -> None:
    """Every panel and query uses `${datasource}`, and every variable is used."""
    for panel in panels(dashboard):
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    content = json.loads(dashboard.read_text(encoding="utf-8"))
    text = json.dumps(content["panels"])
    for variable in content["templating"]["list"]:
        assert f"${variable['name']}" in text.replace("${datasource}", "$datasource"), variable["name"]


@pytest.mark.parametrize("file", [*DASHBOARDS, PAGE], ids=lambda path: path.stem)
def test_what_is_committed_is_what_is_made(file: Path) -> None:
    """Dashboards and the tables of docs/operations.md are the generator's: `make dashboards` writes them."""
    made = dict(files())
    assert set(made) == {*DASHBOARDS, PAGE}
    assert file.read_text(encoding="utf-8") == made[file]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_fit_grafanas_schema(dashboard: Path) -> None:
    """Grafana's own models read each field of the JSON, none is left over, and each value is of its type."""
    assert misfits(json.loads(dashboard.read_text(encoding="utf-8"))) == []


def test_a_field_that_grafana_does_not_know_is_told() -> None:
    """The check above finds a field's wrong name, a word outside a list, and a value of another type."""
    content = json.loads(DASHBOARDS[0].read_text(encoding="utf-8"))
    panel = next(each for each in content["panels"] if each["type"] == "timeseries")
    panel["fieldConfig"]["defaults"]["untis"] = "s"
    panel["options"]["legend"]["placement"] = "left"
    panel["gridPos"]["w"] = "8"
    found = "; ".join(misfits(content))
    assert all(word in found for word in ("untis", "'left' is none of", "grid_pos.w: '8'"))


def test_every_verdict_is_told_in_words() -> None:
    """The panels have words for each code that the recording rule can give, and for no other."""
    given = {int(code) for code in re.findall(r"(\d) \* group", RECORDED["riverlens:bottleneck"])}
    assert set(VERDICTS) == given


def test_every_recorded_series_is_told() -> None:
    """docs/operations.md tells each recorded series with the labels that it has."""
    assert set(TOLD) == set(RECORDED)
    for name, (labels, _) in TOLD.items():
        assert set(labels.split(", ")) <= DECLARED[name] | {"job"}, name


def test_every_alert_has_its_section() -> None:
    """docs/operations.md has a section for each alert, under the anchor of its runbook_url, and no other."""
    page = PAGE.read_text(encoding="utf-8")
    sections = re.findall(r"^### (Riverlens\w+)$", page, re.MULTILINE)
    assert sorted(sections) == sorted(alert["alert"] for alert in alerts())
    anchors = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= anchors


def test_every_alert_has_its_words() -> None:
    """Each alert has a severity, a summary, a threshold at its end, and waits at most a quarter hour."""
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"
        assert re.search(r"(==|!=|<|>)\s+[\d.]+$", alert["expr"].strip()), alert["alert"]
        assert alert.get("for", "0m") in {"0m", "1m", "2m", "5m", "10m", "15m"}


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """The data source's interval is the scrape interval, else `$__rate_interval` is too short for a rate."""
    provisioning = ROOT / "dashboards" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(provisioning.read_text(encoding="utf-8"))["datasources"]
    for name in ("prometheus.yml", "local.yml"):
        scrape = yaml.safe_load((ROOT / "dashboards" / "prometheus" / name).read_text(encoding="utf-8"))
        assert scrape["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_the_jobs_are_those_that_the_rules_ask_for() -> None:
    """Both Prometheus configurations name jobs as rules and dashboards select them, and load the rules."""
    for name in ("prometheus.yml", "local.yml"):
        scrape = yaml.safe_load((ROOT / "dashboards" / "prometheus" / name).read_text(encoding="utf-8"))
        assert {"riverlens-worker", "tensorflow-serving"} <= {
            job["job_name"] for job in scrape["scrape_configs"]
        }
        assert scrape["rule_files"] == ["rules/*.yml"]
