"""What a worker's own metrics say, from the text of its /metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Told(NamedTuple):
    """Of all workers of a stack.

    Attributes:
        published: events by worker.
        stages_ms: mean time of a frame in each stage, in the order of the stages.
    """

    published: list[float]
    stages_ms: dict[str, float]


def read_metrics(pages: Sequence[str]) -> Told:
    """From each worker's page."""
    published: list[float] = []
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for page in pages:
        published.append(0.0)
        for family in text_string_to_metric_families(page):
            for name, labels, value, *_ in family.samples:
                if name == "riverlens_frames_total" and labels["outcome"] == "published":
                    published[-1] += value
                elif name == "riverlens_stage_seconds_sum":
                    sums[labels["stage"]] = sums.get(labels["stage"], 0.0) + value
                elif name == "riverlens_stage_seconds_count":
                    counts[labels["stage"]] = counts.get(labels["stage"], 0.0) + value
    return Told(published, {stage: sums[stage] * 1000 / count for stage, count in counts.items() if count})
