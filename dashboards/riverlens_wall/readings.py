"""What workers say of themselves: their /metrics, several added up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

STATES = ("starting", "running", "draining", "stopped", "failed")
STAGES = ("broker", "queue", "decode", "predict", "publish")


@dataclass(slots=True)
class Reading:
    """One look at all workers. Counters are sums; so are gauges, but where another word stands below.

    Attributes:
        states: each worker's, a word of STATES.
        stage_s, stage_frames: seconds and frames by stage, as counted since the start.
        lag_s: the oldest frame that waits, of all partitions: the largest.
        load_ratio: arrival over capacity: the largest.
        rows, calls: frames in Predict calls, and calls.
        call_s: seconds that Predict calls took, all together.
        outcomes: settled frames by outcome.
        endpoints: model servers by address, whether a worker asks them.
        model_version: the largest.
        unchanged: frames dropped because their events would have told nothing new.
        camera_drops: frames dropped by policy, by camera.
    """

    states: list[str] = field(default_factory=list)
    stage_s: Counter[str] = field(default_factory=Counter)
    stage_frames: Counter[str] = field(default_factory=Counter)
    lag_frames: float = 0.0
    lag_s: float = 0.0
    load_ratio: float = 0.0
    in_flight_frames: float = 0.0
    calls_in_flight: float = 0.0
    rows: float = 0.0
    calls: float = 0.0
    call_s: float = 0.0
    consumed: float = 0.0
    predict_errors: float = 0.0
    poll_errors: float = 0.0
    unchanged: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    endpoints: dict[str, bool] = field(default_factory=dict)
    model_version: int | None = None
    camera_drops: Counter[str] = field(default_factory=Counter)


_SUMS = {
    "riverlens_lag_frames": "lag_frames",
    "riverlens_in_flight_frames": "in_flight_frames",
    "riverlens_calls_in_flight": "calls_in_flight",
    "riverlens_batch_rows_sum": "rows",
    "riverlens_batch_rows_count": "calls",
    "riverlens_predict_seconds_sum": "call_s",
    "riverlens_frames_consumed_total": "consumed",
    "riverlens_predict_errors_total": "predict_errors",
    "riverlens_poll_errors_total": "poll_errors",
}
_MOST = {"riverlens_lag_seconds": "lag_s", "riverlens_load_ratio": "load_ratio"}
_COUNTS = {
    "riverlens_stage_seconds_sum": ("stage_s", "stage"),
    "riverlens_stage_seconds_count": ("stage_frames", "stage"),
    "riverlens_frames_total": ("outcomes", "outcome"),
    "riverlens_camera_drops_total": ("camera_drops", "camera"),
}


def read(texts: Iterable[str]) -> Reading:
    """Add up the metrics of several workers, each in Prometheus's text format.

    Raises:
        ValueError: not that format, or not a worker's metrics.
    """
    reading = Reading()
    for text in texts:
        before = len(reading.states)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                _add(reading, sample.name, sample.labels, sample.value)
        if len(reading.states) == before:
            raise ValueError("these are not the metrics of a riverlens worker: riverlens_state is missing")
    return reading


def _add(reading: Reading, name: str, labels: dict[str, str], value: float) -> None:
    if name in _SUMS:
        setattr(reading, _SUMS[name], getattr(reading, _SUMS[name]) + value)
    elif name in _MOST:
        setattr(reading, _MOST[name], max(getattr(reading, _MOST[name]), value))
    elif name in _COUNTS:
        attribute, label = _COUNTS[name]
        getattr(reading, attribute)[labels.get(label, "")] += value
        if attribute == "outcomes" and labels.get("reason") == "unchanged":
            reading.unchanged += value
    elif name == "riverlens_state":
        number = int(value)
        reading.states.append(STATES[number] if 0 <= number < len(STATES) else f"state {number}")
    elif name == "riverlens_endpoint_up":
        address = labels.get("endpoint", "")
        reading.endpoints[address] = reading.endpoints.get(address, False) or value > 0
    elif name == "riverlens_model_version":
        reading.model_version = max(reading.model_version or 0, int(value))
