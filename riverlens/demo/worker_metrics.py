"""What the worker says of itself: its metrics, read over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """A reading of the counters and gauges that the demo shows.

    Attributes:
        outcomes: settled frames by outcome (published, dropped, dead_lettered, fenced).
        reasons: dead letters and drops by reason.
        batch_reasons: batches by reason.
        stage_s: mean seconds of each stage since the start.
    """

    consumed: int = 0
    in_flight: int = 0
    lag: int = 0
    load_ratio: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    batch_reasons: Mapping[str, int] = field(default_factory=dict)
    stage_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether consumed = published + dropped + dead-lettered + fenced + in flight."""
        return self.consumed == sum(self.outcomes.values()) + self.in_flight


async def read_metrics(url: str) -> WorkerMetrics | None:
    """One reading; None where the worker does not answer just now."""
    try:
        return parse(await asyncio.to_thread(_get, url))
    except OSError:
        return None


def parse(text: str) -> WorkerMetrics:
    """Read the exposition text."""
    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]

    def by(name: str, label: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for sample, labels, value in samples:
            if sample == name and labels.get(label):
                found[labels[label]] = found.get(labels[label], 0) + value
        return found

    def total(name: str) -> float:
        return sum(value for sample, _, value in samples if sample == name)

    sums, counts = by("riverlens_stage_seconds_sum", "stage"), by("riverlens_stage_seconds_count", "stage")
    return WorkerMetrics(
        consumed=int(total("riverlens_frames_consumed_total")),
        in_flight=int(total("riverlens_in_flight_frames")),
        lag=int(total("riverlens_lag_frames")),
        load_ratio=total("riverlens_load_ratio"),
        outcomes=_whole(by("riverlens_frames_total", "outcome")),
        reasons=_whole(by("riverlens_frames_total", "reason")),
        batch_reasons=_whole(by("riverlens_batches_total", "reason")),
        stage_s={stage: sums[stage] / counts[stage] for stage in sums if counts.get(stage)},
    )


def _whole(values: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items()}


def _get(url: str) -> str:
    with urlopen(url, timeout=2) as reply:  # noqa: S310  # our own loopback address
        body: bytes = reply.read()
    return body.decode()
