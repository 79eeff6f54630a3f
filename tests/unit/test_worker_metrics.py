"""What the worker's own counts say together."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from riverlens_worker.camera_metrics import MAX_CAMERAS, OTHER_CAMERAS
from riverlens_worker.metrics import Metrics


def test_frames_that_wait_on_kafka_have_arrived() -> None:
    """Arrivals are what was read and what waits: an overloaded worker reads no more than it settles."""
    metrics = Metrics(CollectorRegistry())
    metrics.consumed.inc(10)
    metrics.lag_frames("0").set(5)
    metrics.lag_frames("7").set(20)
    assert metrics.arrived() == 35
    metrics.forget_partition(7)
    assert metrics.arrived() == 15


def test_the_balance_adds_up_over_reasons() -> None:
    """Outcomes are summed over their reasons; consumed is the sum of outcomes and what is in flight."""
    metrics = Metrics(CollectorRegistry())
    metrics.consumed.inc(6)
    metrics.frames("published", "").inc(3)
    metrics.frames("dead_lettered", "undecodable").inc(1)
    metrics.frames("dead_lettered", "too_large").inc(1)
    metrics.in_flight_frames.inc(1)
    counts = metrics.balance()
    assert counts["dead_lettered"] == 2
    assert counts.pop("consumed") == sum(counts.values()) == 6


def test_cameras_beyond_the_limit_share_one_series() -> None:
    """Hostile camera names cannot grow the metrics without bound, nor are their frames uncounted."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(MAX_CAMERAS + 50):
        metrics.camera_frames(f"camera-{number}").inc()
    value = registry.get_sample_value("riverlens_camera_frames_total", {"camera": OTHER_CAMERAS})
    assert value == 50


def test_drops_and_skews_name_no_more_cameras_than_events() -> None:
    """However many cameras there are, so many have series; a skew is shown of those that ever had one."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(MAX_CAMERAS + 50):
        metrics.camera_drops(f"camera-{number}", "stale").inc()
        metrics.camera_skew(f"camera-{number}", 0.0)
    metrics.camera_skew("slow", 5.0)
    metrics.camera_skew("slow", 0.0)
    labels = {"camera": OTHER_CAMERAS, "reason": "stale"}
    assert registry.get_sample_value("riverlens_camera_drops_total", labels) == 50
    shown = [s.labels["camera"] for f in registry.collect() if "skew" in f.name for s in f.samples]
    assert shown == ["slow"]
