"""Every metric of the worker, declared once, with its text and unit.

The registry is given, so tests and several workers in one process do not share counts. Label children
are looked up once and kept: a look-up a frame costs more than the count itself.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens_worker.camera_metrics import CameraMetrics
from riverlens_worker.histograms import HistogramFamily
from riverlens_worker.messages import BatchReason, Outcome

_LATENCY_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300)
_STAGE_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_COMMON_CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
_ROWS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128, 256)


class Lifecycle(IntEnum):
    """The worker's state, as `riverlens_state` shows it."""

    STARTING = 0
    """Connecting to Kafka and the model server; not ready."""
    RUNNING = 1
    """Reading, predicting, publishing."""
    DRAINING = 2
    """Told to stop: finishing what it holds."""
    STOPPED = 3
    """Stopped, offsets committed."""
    FAILED = 4
    """Stopped by an error; the log says which."""


class Stage(IntEnum):
    """What `riverlens_stage_seconds` times for each frame."""

    BROKER = 0
    """Capture to receipt by the worker."""
    QUEUE = 1
    """Waiting inside the worker: for decode, for a batch, for the device."""
    DECODE = 2
    """Reading or decoding the image."""
    PREDICT = 3
    """The Predict call that answered the frame; calls that failed before it count as queue."""
    PUBLISH = 4
    """Answer to acknowledged event: order, serialisation, Kafka."""


class Metrics:
    """The worker's metrics on one registry. Names and labels are the contract of dashboards and alerts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._declare_frames(registry)
        self._declare_batches(registry)
        self._declare_backlog(registry)
        self._declare_watching(registry)
        self._declare_group(registry)
        self._declare_endpoints(registry)
        self._open_known_series()

    def _open_known_series(self) -> None:
        """Series of closed lists start at zero: a rate sees their first count, and a dashboard a number."""
        self.frames(Outcome.PUBLISHED.value, "")
        self.frames(Outcome.FENCED.value, "")
        for reason in Reason:
            self.frames(Outcome.DEAD_LETTERED.value, reason.value)
        for drop_reason in DropReason:
            self.frames(Outcome.DROPPED.value, drop_reason.value)
        for batch_reason in BatchReason:
            self.batches(batch_reason.value)
        for code in _COMMON_CODES:
            self.predict_errors(code)
        for event in ("assigned", "revoked"):
            self.rebalances(event)

    def _declare_frames(self, registry: CollectorRegistry) -> None:
        """Frames, their outcomes and their times."""
        self.consumed = Counter("riverlens_frames_consumed", "Frames read from Kafka", registry=registry)
        self._frames = Counter(
            "riverlens_frames",
            "Frames settled, by outcome: published, dropped, dead_lettered, fenced",
            ["outcome", "reason"],
            registry=registry,
        )
        cameras = CameraMetrics(registry)
        self.camera_frames = cameras.frames
        self.camera_drops = cameras.drops
        self.camera_skew = cameras.skew
        text = "Capture to acknowledged event"
        latency = HistogramFamily("riverlens_frame_latency_seconds", text, None, _LATENCY_S, registry)
        self.frame_latency = latency.child()
        text = "Time of a frame in each stage: broker, queue, decode, predict, publish"
        stages = HistogramFamily("riverlens_stage_seconds", text, "stage", _STAGE_S, registry)
        self.stage = {stage: stages.child(stage.name.lower()) for stage in Stage}
        self.reference_seconds = Histogram(
            "riverlens_reference_seconds",
            "Time to fetch a frame that is a reference, all tries together, successful or not",
            buckets=_STAGE_S,
            registry=registry,
        )
        self.reference_retries = Counter(
            "riverlens_reference_retries", "Further tries at fetching references", registry=registry
        )
        self.frames = cache(self._frames.labels)

    def _declare_batches(self, registry: CollectorRegistry) -> None:
        """Batches and the calls that they become."""
        self.batch_rows = Histogram(
            "riverlens_batch_rows", "Frames in a Predict call", buckets=_ROWS, registry=registry
        )
        self._batches = Counter(
            "riverlens_batches", "Batches handed out, by reason", ["reason"], registry=registry
        )
        self.predict = Histogram(
            "riverlens_predict_seconds", "Time of one Predict call", buckets=_STAGE_S, registry=registry
        )
        self._predict_errors = Counter(
            "riverlens_predict_errors", "Failed Predict calls, by gRPC code", ["code"], registry=registry
        )
        self.calls_in_flight = Gauge(
            "riverlens_calls_in_flight", "Predict calls under way", registry=registry
        )
        self.batches = cache(self._batches.labels)
        self.predict_errors = cache(self._predict_errors.labels)

    def _declare_backlog(self, registry: CollectorRegistry) -> None:
        """What waits, here and on Kafka."""
        self.in_flight_frames = Gauge(
            "riverlens_in_flight_frames", "Frames read and not settled", registry=registry
        )
        self.in_flight_bytes = Gauge(
            "riverlens_in_flight_bytes", "Bytes of frames read and not settled", registry=registry
        )
        self._lag_frames = Gauge(
            "riverlens_lag_frames",
            "Frames on Kafka behind the last one read",
            ["partition"],
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "riverlens_lag_seconds",
            "Age of the oldest frame read and not settled, by partition; 0 where none waits",
            ["partition"],
            registry=registry,
        )
        self.load_ratio = Gauge(
            "riverlens_load_ratio",
            "Arrival rate over the rate of full batches; above 1 the backlog grows",
            registry=registry,
        )
        self.expired = Counter(
            "riverlens_frames_expired",
            "Frames that retention removed before they were read",
            registry=registry,
        )
        self.future_captures = Counter(
            "riverlens_future_captures", "Frames with a capture time ahead of this clock", registry=registry
        )
        self.lag_frames = cache(self._lag_frames.labels)
        self.lag_seconds = cache(self._lag_seconds.labels)

    def _declare_watching(self, registry: CollectorRegistry) -> None:
        """The worker watching itself."""
        text = "Time since the partition's lowest offset last moved, while it has frames; 0 where it has none"
        name = "riverlens_partition_stalled_seconds"
        self._partition_stalled = Gauge(name, text, ["partition"], registry=registry)
        text = "Frames consumed less those settled and in flight: not 0 is a defect"
        self.balance_difference = Gauge("riverlens_balance_difference", text, registry=registry)
        text = "How late the event loop ran a step that was due"
        self.loop_lag = Histogram("riverlens_loop_lag_seconds", text, buckets=_STAGE_S, registry=registry)
        self.partition_stalled = cache(self._partition_stalled.labels)

    def _declare_group(self, registry: CollectorRegistry) -> None:
        """The consumer group, the model, the state."""
        self._rebalances = Counter(
            "riverlens_rebalances", "Partitions assigned or revoked", ["event"], registry=registry
        )
        self.partitions = Gauge("riverlens_partitions", "Partitions this worker holds", registry=registry)
        self.poll_errors = Counter(
            "riverlens_poll_errors", "Failed requests to Kafka, tried again", registry=registry
        )
        self._reencoded = Counter(
            "riverlens_frames_reencoded",
            "Frames decoded and encoded again because the server could not read them as they are",
            ["reason"],
            registry=registry,
        )
        self.model_version = Gauge(
            "riverlens_model_version", "Model version that answered last", registry=registry
        )
        self.state = Gauge(
            "riverlens_state",
            "0 starting, 1 running, 2 draining, 3 stopped, 4 failed",
            registry=registry,
        )
        self.rebalances = cache(self._rebalances.labels)
        self.reencoded = cache(self._reencoded.labels)

    def _declare_endpoints(self, registry: CollectorRegistry) -> None:
        """The model servers, each by its address."""
        self._endpoint_up = Gauge(
            "riverlens_endpoint_up",
            "1 where a model server is asked, 0 where it is left out until it says AVAILABLE",
            ["endpoint"],
            registry=registry,
        )
        self._endpoint_calls = Gauge(
            "riverlens_endpoint_calls_in_flight", "Predict calls under way", ["endpoint"], registry=registry
        )
        self._endpoint_frames = Counter(
            "riverlens_endpoint_frames", "Frames answered, by model server", ["endpoint"], registry=registry
        )
        self._endpoint_ejections = Counter(
            "riverlens_endpoint_ejections",
            "Times a model server was left out: away, hanging or without the model",
            ["endpoint"],
            registry=registry,
        )
        self.endpoint_up = cache(self._endpoint_up.labels)
        self.endpoint_calls = cache(self._endpoint_calls.labels)
        self.endpoint_frames = cache(self._endpoint_frames.labels)
        self.endpoint_ejections = cache(self._endpoint_ejections.labels)
        self.batch_limit = Gauge(
            "riverlens_batch_limit_rows",
            "Most frames in one Predict call now: setting, server's limit, memory, poison",
            registry=registry,
        )

    def forget_endpoint(self, endpoint: str) -> None:
        """Drop the series of a model server whose address is gone."""
        for metric, children in (
            (self._endpoint_up, self.endpoint_up),
            (self._endpoint_calls, self.endpoint_calls),
            (self._endpoint_frames, self.endpoint_frames),
            (self._endpoint_ejections, self.endpoint_ejections),
        ):
            children.cache_clear()
            if (endpoint,) in metric._metrics:  # noqa: SLF001  # remove() raises for a missing child
                metric.remove(endpoint)

    def arrived(self) -> float:
        """Frames that came to this worker's partitions: read, or waiting on Kafka."""
        waiting = sum(sample.value for family in self._lag_frames.collect() for sample in family.samples)
        return value_of(self.consumed) + waiting

    def balance(self) -> dict[str, int]:
        """Frames consumed, by outcome, and in flight: consumed is the sum of the others."""
        counts = dict.fromkeys(("published", "dropped", "dead_lettered", "fenced"), 0)
        for family in self._frames.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    counts[sample.labels["outcome"]] += int(sample.value)
        consumed, in_flight = int(value_of(self.consumed)), int(value_of(self.in_flight_frames))
        return {"consumed": consumed, **counts, "in_flight": in_flight}

    def forget_partition(self, partition: int) -> None:
        """Drop the gauges of a partition that moved on, so that no stale lag stays on a dashboard."""
        for gauge, children in (
            (self._lag_frames, self.lag_frames),
            (self._lag_seconds, self.lag_seconds),
            (self._partition_stalled, self.partition_stalled),
        ):
            children.cache_clear()
            if (str(partition),) in gauge._metrics:  # noqa: SLF001  # remove() raises for a missing child
                gauge.remove(str(partition))


def value_of(metric: Counter | Gauge) -> float:
    """The value of a counter or gauge without labels."""
    return next(sample.value for family in metric.collect() for sample in family.samples)
