"""The producer's metrics, read from its counts when somebody asks: a frame costs nothing extra.

Names and labels are the contract of dashboards and alerts. How many series there may be is bounded.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from riverlens.frame_producer import ProducerStats
from riverlens_producer.failures import Cause
from riverlens_producer.link import LinkStats
from riverlens_producer.summary import CameraCounts, total

MAX_CAMERAS = 200
OTHER_CAMERAS = "other"

_DROPS = {
    "kafka_slow": "dropped",
    "not_delivered": "failed",
    "too_large": "refused",
    "late": "skipped",
}
"""The label `reason`, and the count that it shows. To these comes `broken`, from the connection."""


class CameraCollector(Collector):
    """Shows the first 200 cameras one by one, the counters of all others together as `other`.

    Args:
        counts: by camera id; may grow.
        stats: by camera id, how its connection fares.
        buffered: gives the producer's own counts, with the frames on their way to Kafka.
    """

    def __init__(
        self,
        counts: Mapping[str, CameraCounts],
        stats: Mapping[str, LinkStats],
        buffered: Callable[[], ProducerStats],
    ) -> None:
        self._buffered = buffered
        self._counts = counts
        self._stats = stats

    def describe(self) -> Iterable[Metric]:
        """None beforehand: all of them are told by `collect`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything as of now."""
        yield from self._frames()
        yield from self._connections()
        held = self._buffered()
        yield _gauge("buffered_frames", "Frames that Kafka has not acknowledged yet", held.pending)
        yield _gauge("buffered_bytes", "Bytes of those frames", held.pending_bytes)

    def _frames(self) -> Iterator[Metric]:
        frames = _counter("frames", "Frames that Kafka has acknowledged, by camera")
        size = _counter("frame_bytes", "Image bytes of those frames, by camera")
        drops = _counter("drops", "Frames that came and were not sent or not delivered, by camera", "reason")
        for camera, counts, stats in self._rows():
            frames.add_metric([camera], counts.acknowledged)
            size.add_metric([camera], counts.acknowledged_bytes)
            for reason, name in _DROPS.items():
                drops.add_metric([camera, reason], getattr(counts, name))
            drops.add_metric([camera, "broken"], stats.broken)
        yield from (frames, size, drops)

    def _connections(self) -> Iterator[Metric]:
        received = _counter("received_frames", "Frames that came from a camera, before its rate is limited")
        reconnects = _counter("reconnects", "Connections to a camera that ended", "reason")
        up = GaugeMetricFamily("riverlens_producer_camera_up", "1 while frames come", labels=["camera"])
        age = GaugeMetricFamily(
            "riverlens_producer_frame_age_seconds",
            "Time since capture of the newest frame",
            labels=["camera"],
        )
        now_ms = time.time_ns() // 1_000_000
        for camera, _, stats in self._rows():
            received.add_metric([camera], stats.received)
            for cause in Cause:
                reconnects.add_metric([camera, cause.value], stats.reconnects[cause])
            if camera in self._stats:
                up.add_metric([camera], int(stats.up))
                if stats.captured_at_ms:
                    age.add_metric([camera], max(0.0, (now_ms - stats.captured_at_ms) / 1000))
        yield from (received, reconnects, up, age)

    def _rows(self) -> Iterator[tuple[str, CameraCounts, LinkStats]]:
        names = list(self._counts)
        for name in names[:MAX_CAMERAS]:
            yield name, self._counts[name], self._stats[name]
        rest = names[MAX_CAMERAS:]
        if rest:
            reconnects = sum((self._stats[name].reconnects for name in rest), Counter[Cause]())
            stats = LinkStats(
                received=sum(self._stats[name].received for name in rest),
                broken=sum(self._stats[name].broken for name in rest),
                reconnects=reconnects,
            )
            yield OTHER_CAMERAS, total(self._counts[name] for name in rest), stats


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"riverlens_producer_{name}", text, labels=["camera", *labels])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"riverlens_producer_{name}", text, value=value)
