"""How many spans were taken, as a Prometheus metric; there only where tracing is on."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from riverlens.tracing import SpanExport


class SpanCounts(Collector):
    """`riverlens_trace_spans_total`, by what became of them."""

    def __init__(self, export: SpanExport) -> None:
        self._export = export

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counts as of now."""
        text = "Spans: exported, dropped because too many waited, or failed because the collector took none"
        family = CounterMetricFamily("riverlens_trace_spans", text, labels=["outcome"])
        for outcome in ("exported", "dropped", "failed"):
            family.add_metric([outcome], getattr(self._export, outcome))
        yield family
