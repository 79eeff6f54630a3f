"""Histograms that are observed for every frame, on one event loop. Shell of prometheus_client's registry.

prometheus_client's own histogram walks its buckets and takes two locks an observation: 6 observations a
frame were a twentieth of the worker's CPU. Here an observation is a binary search and two additions; there
is no lock, so only one thread may observe and scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Observations:
    """Counts by bucket, and the sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Enter `count` observations of one value; a value equal to a bound is within it."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus exposes them."""
        found, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return found

    @property
    def sum(self) -> float:
        """Sum of all values."""
        return self._sum


class HistogramFamily(Collector):
    """One histogram metric with one label; `child` before the first observation."""

    def __init__(
        self, name: str, text: str, label: str | None, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        """`label` None: a histogram without labels, whose one child is ''."""
        self._name, self._text, self._label = name, text, label
        self._bounds = tuple(float(bound) for bound in bounds)
        self._children: dict[str, Observations] = {}
        registry.register(self)

    @property
    def labelnames(self) -> tuple[str, ...]:
        """Names of its labels, none or one."""
        return () if self._label is None else (self._label,)

    def child(self, value: str = "") -> Observations:
        """The observations of one label value; made at the first call, zero until observed."""
        return self._children.setdefault(value, Observations(self._bounds))

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """What the registry asks to know the names, without a scrape."""
        yield self._family()

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """What a scrape shows."""
        family = self._family()
        for value, seen in self._children.items():
            family.add_metric([] if self._label is None else [value], seen.buckets(), seen.sum)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(
            self._name, self._text, labels=None if self._label is None else [self._label]
        )
