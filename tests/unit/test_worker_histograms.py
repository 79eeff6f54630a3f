"""Histograms without locks: a scrape shows what prometheus_client's own would show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from riverlens_worker.histograms import HistogramFamily

BOUNDS = (0.001, 0.5, 1, 30)


def _without_created(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if "_created" not in line]


@given(
    st.lists(st.tuples(st.sampled_from(("one", "two")), st.sampled_from((0.0, 0.001, 0.3, 0.5, 1, 30, 31))))
)
def test_a_scrape_is_that_of_the_librarys_own_histogram(seen: list[tuple[str, float]]) -> None:
    """Names, labels, buckets and sums are equal, whatever was observed; series begin at zero."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    family = HistogramFamily("stage_seconds", "Time", "stage", BOUNDS, ours)
    library = Histogram("stage_seconds", "Time", ["stage"], buckets=BOUNDS, registry=theirs)
    for stage in ("one", "two"):
        family.child(stage)
        library.labels(stage)
    for stage, value in seen:
        family.child(stage).observe(value)
        library.labels(stage).observe(value)
    assert _without_created(generate_latest(ours)) == _without_created(generate_latest(theirs))


def test_a_histogram_without_labels_counts_many_at_once() -> None:
    """An observation for all rows of a call counts each of them."""
    registry = CollectorRegistry()
    HistogramFamily("latency_seconds", "Time", None, BOUNDS, registry).child().observe(0.25, 32)
    assert registry.get_sample_value("latency_seconds_count") == 32
    assert registry.get_sample_value("latency_seconds_bucket", {"le": "0.5"}) == 32
    assert registry.get_sample_value("latency_seconds_bucket", {"le": "0.001"}) == 0
    assert registry.get_sample_value("latency_seconds_sum") == 8
