"""Dashboards name only what the worker declares, and ask in a way that gives numbers."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from riverlens_worker.histograms import HistogramFamily
from riverlens_worker.metrics import Metrics
from tests.dashboard_queries import DASHBOARDS, ROOT, Query, grouping, panels, queries, selectors

# Labels that Prometheus adds to every series.
SCRAPE_LABELS = {"instance", "job"}
# Metrics that no panel shows, and why.
NOT_SHOWN = {
    "riverlens_frames_reencoded": "has no series until a model that takes encoded images needs it",
    "riverlens_reference_seconds": "of use only where frames are references, which few streams are",
    "riverlens_reference_retries": "as above",
    "riverlens_endpoint_up": "of use only with several model servers",
    "riverlens_endpoint_calls_in_flight": "as above",
    "riverlens_endpoint_frames": "as above",
    "riverlens_endpoint_ejections": "as above",
    "riverlens_loop_lag_seconds": "below milliseconds unless something is wrong, which the log then says",
    "riverlens_batch_limit_rows": "the limit that is shown is the setting; this tells why batches are small",
}
QUERIES = [query for dashboard in DASHBOARDS for query in queries(dashboard)]


def _declared() -> dict[str, set[str]]:
    """Labels of every series the worker can export, by the series' name; `le` for buckets."""
    registry = CollectorRegistry()
    Metrics(registry)
    series = {}
    for name, collector in registry._names_to_collectors.items():  # no public view of labels without series
        ours = isinstance(collector, HistogramFamily)
        labels = set(collector.labelnames if ours else collector._labelnames)  # type: ignore[attr-defined]  # the library's own, untyped
        series[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return series


DECLARED = _declared()


def _by_name(query: Query) -> str:
    return query.name


def test_there_are_queries_to_check() -> None:
    """The overview has at least 30 queries, each with a name of its own."""
    assert len(QUERIES) >= 30
    assert len({query.name for query in QUERIES}) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES, ids=_by_name)
def test_every_metric_and_label_is_declared(query: Query) -> None:
    """A query selects declared series only, by labels that they have, and groups by labels that they have."""
    found = selectors(query.expression)
    assert found, f"no selector in braces: {query.expression}"
    for metric, labels in found.items():
        assert metric in DECLARED, f"{metric} is not declared in riverlens_worker.metrics"
        known = DECLARED[metric] | SCRAPE_LABELS
        assert labels <= known, f"{metric} has no label {labels - known}"
        assert grouping(query.expression) <= known, (
            f"{metric} has no label {grouping(query.expression) - known}"
        )
    bare = set(re.findall(r"riverlens_\w+", query.expression)) - set(found)
    assert not bare, f"without braces, so for all workers whatever is chosen: {bare}"


@pytest.mark.parametrize("query", QUERIES, ids=_by_name)
def test_legends_name_labels_that_the_result_has(query: Query) -> None:
    """`{{label}}` in a legend is a label that the query groups by, or else the legend would be empty."""
    named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    aggregated = re.match(r"(sum|max|min|avg|topk|histogram_quantile)\b", query.expression)
    assert named <= (grouping(query.expression) if aggregated else SCRAPE_LABELS | {"partition"})


@pytest.mark.parametrize("query", QUERIES, ids=_by_name)
def test_queries_give_numbers(query: Query) -> None:
    """Rates are taken of counters, no absent series is painted as 0, and what may be 0/0 drops its NaN."""
    text = query.expression
    assert "vector(" not in text
    for metric in re.findall(r"(?:rate|increase)\s*\((\w+)\{", text):
        assert metric.endswith(("_total", "_bucket", "_sum", "_count")), f"{metric} is no counter"
    if "/" in text or "histogram_quantile" in text:
        # A comparison with NaN is false, so idle times are gaps; what is measured here is never negative.
        assert text.endswith(">= 0"), text


@pytest.mark.parametrize("query", QUERIES, ids=_by_name)
def test_queries_follow_the_chosen_worker(query: Query) -> None:
    """Each selector holds the dashboard's variable `instance`."""
    assert query.expression.count('instance=~"$instance"') == query.expression.count("{")


def test_every_metric_is_shown_or_has_a_reason() -> None:
    """No metric is declared and forgotten: a panel shows it, or NOT_SHOWN says why not."""
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", m) for q in QUERIES for m in selectors(q.expression)}
    registry = CollectorRegistry()
    Metrics(registry)
    declared = {family.name for family in registry.collect()}
    assert declared - shown - set(NOT_SHOWN) == set()
    assert set(NOT_SHOWN) & shown == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_are_explained_and_do_not_overlap(dashboard: Path) -> None:
    """Each panel has a title of its own, a text, a unit, Grafana's 24 columns, and its own place."""
    shown = panels(dashboard)
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert len(panel["description"]) > 20, panel["title"]
        has_unit = "unit" in panel["fieldConfig"]["defaults"] or panel["type"] == "heatmap"
        assert has_unit, panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
    for one, other in combinations(shown, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart or above, f"{one['title']} overlaps {other['title']}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_take_their_data_source_from_the_variable(dashboard: Path) -> None:
    """Every panel and query uses `${datasource}`, so that a dashboard can be imported anywhere."""
    for panel in panels(dashboard):
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    content = json.loads(dashboard.read_text(encoding="utf-8"))
    assert [v["name"] for v in content["templating"]["list"]] == ["datasource", "instance"]


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """The data source's interval is the scrape interval, else `$__rate_interval` is too short for a rate."""
    provisioning = ROOT / "dashboards" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(provisioning.read_text(encoding="utf-8"))["datasources"]
    for name in ("prometheus.yml", "local.yml"):
        scrape = yaml.safe_load((ROOT / "dashboards" / "prometheus" / name).read_text(encoding="utf-8"))
        assert scrape["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
