"""Queries as text. Every selector carries the dashboard's variables: a choice holds for all panels."""

from __future__ import annotations

WORKER = 'job=~"$job",instance=~"$instance"'
PIPELINE = 'job=~"$job"'
PRODUCER = 'job=~"(.+/)?riverlens-producer.*"'
SERVER = 'job=~"(.+/)?tensorflow-serving.*",instance=~"$server"'


def select(metric: str, *matchers: str, of: str = WORKER) -> str:
    """Series of a metric; `matchers` as in PromQL, `stage="queue"`."""
    return f"{metric}{{{','.join((*matchers, of))}}}"


def rate(counter: str, *matchers: str, of: str = WORKER) -> str:
    """Growth a second of each series."""
    return f"rate({select(counter, *matchers, of=of)}[$__rate_interval])"


def total_rate(counter: str, *matchers: str, by: str = "", of: str = WORKER) -> str:
    """Growth a second, summed; by labels where told."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} ({rate(counter, *matchers, of=of)})"


def mean(histogram: str, *matchers: str, by: str = "", of: str = WORKER) -> str:
    """Mean of what a histogram observed; nothing where it observed nothing."""
    above = total_rate(f"{histogram}_sum", *matchers, by=by, of=of)
    below = total_rate(f"{histogram}_count", *matchers, by=by, of=of)
    return f"{above} / {below} >= 0"


def quantile(share: float, histogram: str, *matchers: str, by: str = "", of: str = WORKER) -> str:
    """Quantile of what a histogram observed; nothing where it observed nothing."""
    labels = f"le, {by}" if by else "le"
    buckets = total_rate(f"{histogram}_bucket", *matchers, by=labels, of=of)
    return f"histogram_quantile({share:g}, {buckets}) >= 0"


def median_and_p99(histogram: str, *matchers: str, by: str = "", of: str = WORKER) -> dict[str, str]:
    """Two queries, by their legends p50 and p99."""
    quantiles = {"p50": 0.5, "p99": 0.99}
    return {name: quantile(share, histogram, *matchers, by=by, of=of) for name, share in quantiles.items()}


def mean_and_p99(histogram: str, *matchers: str) -> dict[str, str]:
    """Two queries, by their legends mean and p99."""
    return {"mean": mean(histogram, *matchers), "p99": quantile(0.99, histogram, *matchers)}


def most(gauge: str, *matchers: str, by: str = "", of: str = WORKER) -> str:
    """The largest value; by labels where told."""
    return f"max{f' by ({by})' if by else ''} ({select(gauge, *matchers, of=of)})"


def total(gauge: str, *matchers: str, by: str = "", of: str = WORKER) -> str:
    """The sum; by labels where told."""
    return f"sum{f' by ({by})' if by else ''} ({select(gauge, *matchers, of=of)})"
