"""The parts of docs/operations.md that are made: tables of verdicts, recorded series and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from riverlens_dashboards.bottleneck import VERDICTS
from riverlens_worker.histograms import HistogramFamily
from riverlens_worker.metrics import Metrics
from scripts.made_parts import fill

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
RECORDED = {
    "riverlens:frames_in:rate1m": ("job", "frames read a second"),
    "riverlens:events:rate1m": ("job", "events acknowledged a second"),
    "riverlens:camera_events:rate1m": ("job, camera", "the same by camera"),
    "riverlens:camera_frames:rate1m": ("job, camera", "frames answered or dropped a second, by camera"),
    "riverlens:drops:ratio1m": ("job", "share of the frames that freshness policies drop"),
    "riverlens:dead_letters:rate1m": ("job", "dead letters a second"),
    "riverlens:dead_letters:ratio1m": ("job", "share of the frames that become dead letters"),
    "riverlens:latency_seconds:p50_1m": ("job, instance", "capture to acknowledged event, median"),
    "riverlens:latency_seconds:p99_1m": ("job, instance", "the same, 99 of 100"),
    "riverlens:stage_seconds:mean1m": ("job, stage", "mean time of a frame in a stage"),
    "riverlens:lag_frames:sum": ("job", "frames on Kafka that nobody has read"),
    "riverlens:lag_seconds:max": ("job", "age of the oldest frame that is read and not settled"),
    "riverlens:load_ratio:max": ("job", "arrivals over what full batches carry, busiest worker"),
    "riverlens:behind": ("job", "1 where frames wait"),
    "riverlens:calls_under_way:avg1m": ("job", "mean calls under way, each worker at each model server"),
    "riverlens:batches:share1m": ("job, reason", "share of the batches that left for a reason"),
    "riverlens:batch_fill:ratio1m": ("job", "frames in a call over the most it may hold"),
    "riverlens:batch_limit:left6h": ("job", "what a call may hold now over the most in six hours"),
    "riverlens:bottleneck": ("job", "what holds the frames up, a code"),
}
"""Labels and meaning of the recording rules."""


def filled(page: str) -> str:
    """The page with its made parts as they should be.

    Raises:
        ValueError: a part's marks are missing.
    """
    parts = {"bottleneck": _verdicts(), "recorded": _recorded(), "metrics": _metrics()}
    return fill(page, "docs/operations.md", parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _verdicts() -> Iterator[str]:
    told = [code for code in VERDICTS if code not in {0, 8}]
    rows = ((str(code), VERDICTS[code].text, VERDICTS[code].because) for code in (*told, 8, 0))
    return _table(("code", "it says", "because"), rows)


def _recorded() -> Iterator[str]:
    rows = ((f"`{name}`", labels, text) for name, (labels, text) in RECORDED.items())
    return _table(("series", "labels", "meaning"), rows)


def _metrics() -> Iterator[str]:
    registry = CollectorRegistry()
    Metrics(registry)
    labels: dict[str, tuple[str, ...]] = {}
    for name, collector in registry._names_to_collectors.items():  # noqa: SLF001  # no public view of labels
        ours = isinstance(collector, HistogramFamily)
        labels[name] = collector.labelnames if ours else collector._labelnames  # type: ignore[attr-defined]  # noqa: SLF001  # the library's own
    rows = []
    for family in sorted(registry.collect(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, ", ".join(labels[family.name]), family.documentation))
    return _table(("metric", "kind", "labels", "meaning"), rows)
