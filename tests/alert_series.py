"""The pipeline's series in ordinary times and under each cause, in promtool's notation, without a pipeline.

Two workers share twelve partitions and two model servers, 50 frames/s each, for an hour: a value each
30 s. A cause replaces some of the series; the rest stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

EVERY_S = 30
SAMPLES = 120
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Series = dict[str, str]


def flat(value: float) -> str:
    """The same value at all times."""
    return f"{value:g}x{SAMPLES}"


def rising(each_s: float) -> str:
    """A counter, or whatever else grows: so much a second."""
    return f"0+{each_s * EVERY_S:g}x{SAMPLES}"


def rising_until(each_s: float, minute: int) -> str:
    """A counter that stops."""
    steps = minute * 60 // EVERY_S
    return f"0+{each_s * EVERY_S:g}x{steps} {each_s * EVERY_S * steps:g}x{SAMPLES - steps}"


def _worker(name: str, partitions: range) -> Iterator[tuple[str, str]]:
    own = f'job="riverlens-worker",instance="{name}"'
    for gauge, value in {
        "up": 1,
        "riverlens_state": 1,
        "riverlens_partitions": 6,
        "riverlens_in_flight_frames": 8,
        "riverlens_load_ratio": 0.5,
        "riverlens_balance_difference": 0,
        "riverlens_model_version": 3,
        "riverlens_batch_limit_rows": 32,
        "process_start_time_seconds": 1_700_000_000,
    }.items():
        yield f"{gauge}{{{own}}}", flat(value)
    for counter, each_s in {
        "riverlens_frames_consumed_total": 50,
        "riverlens_frames_expired_total": 0,
        "riverlens_poll_errors_total": 0,
        "riverlens_future_captures_total": 0,
        "riverlens_batch_rows_sum": 50,
        "riverlens_batch_rows_count": 12,
        "riverlens_predict_seconds_sum": 0.6,
        "riverlens_predict_seconds_count": 12,
        "riverlens_reference_seconds_sum": 0,
    }.items():
        yield f"{counter}{{{own}}}", rising(each_s)
    yield from _labelled(own)
    for partition in partitions:
        for gauge, amount in {"lag_frames": 1, "lag_seconds": 0.05, "partition_stalled_seconds": 0}.items():
            yield f'riverlens_{gauge}{{{own},partition="{partition}"}}', flat(amount)
    for endpoint in ("gpu1:8500", "gpu2:8500"):
        yield f'riverlens_endpoint_up{{{own},endpoint="{endpoint}"}}', flat(1)


def _labelled(own: str) -> Iterator[tuple[str, str]]:
    for outcome, reason, each_s in (
        ("published", "", 50),
        ("dead_lettered", "unsupported", 0),
        ("dropped", "stale", 0),
        ("fenced", "", 0),
    ):
        labels = f'{own},outcome="{outcome}",reason="{reason}"'
        yield f"riverlens_frames_total{{{labels}}}", rising(each_s)
    for reason, batches in {"device_free": 11.5, "full": 0.5, "bytes": 0, "shape": 0}.items():
        yield f'riverlens_batches_total{{{own},reason="{reason}"}}', rising(batches)
    for stage, mean_s in {
        "broker": 0.01,
        "queue": 0.02,
        "decode": 0.01,
        "predict": 0.05,
        "publish": 0.01,
    }.items():
        yield f'riverlens_stage_seconds_sum{{{own},stage="{stage}"}}', rising(50 * mean_s)
        yield f'riverlens_stage_seconds_count{{{own},stage="{stage}"}}', rising(50)
    for bound in ("0.1", "20", "+Inf"):
        yield f'riverlens_frame_latency_seconds_bucket{{{own},le="{bound}"}}', rising(50)
    for bound in ("0.001", "1", "+Inf"):
        yield f'riverlens_loop_lag_seconds_bucket{{{own},le="{bound}"}}', rising(2)
    yield f'riverlens_predict_errors_total{{{own},code="UNAVAILABLE"}}', rising(0)
    yield f'riverlens_rebalances_total{{{own},event="revoked"}}', rising(0)
    yield f'riverlens_camera_frames_total{{{own},camera="lobby"}}', rising(10)
    yield f'riverlens_camera_drops_total{{{own},camera="lobby",reason="unchanged"}}', rising(0)
    yield f'riverlens_camera_skew_seconds{{{own},camera="lobby"}}', flat(0)


def ordinary() -> Series:
    """All series, nothing wrong."""
    series = dict(_worker("w1:9100", range(6))) | dict(_worker("w2:9100", range(6, 12)))
    for server in ("gpu1:8501", "gpu2:8501"):
        series[f'up{{job="tensorflow-serving",instance="{server}"}}'] = flat(1)
    series['riverlens_producer_camera_up{job="riverlens-producer",camera="lobby"}'] = flat(1)
    return series


def _selected(key: str, selector: str) -> bool:
    name, _, labels = selector.partition("{")
    return key.partition("{")[0] == name and set(_LABEL.findall(labels)) <= set(_LABEL.findall(key))


def changed(series: Series, changes: Mapping[str, str | None]) -> Series:
    """`series` with those that a key of `changes` selects replaced, or taken away.

    Raises:
        AssertionError: a key selects none.
    """
    result = dict(series)
    for selector, values in changes.items():
        found = [key for key in series if _selected(key, selector)]
        assert found, f"no series like {selector}"
        for key in found:
            if values is None:
                result.pop(key, None)
            else:
                result[key] = values
    return result


@dataclass(frozen=True, slots=True)
class Cause:
    """What goes wrong, and what must follow.

    Attributes:
        name: in words; the test's id.
        changes: series that differ from ordinary times, by selector; None: they are gone.
        alerts: those that fire after half an hour, all of them and no others.
        bottleneck: what `riverlens:bottleneck` says then.
    """

    name: str
    changes: Mapping[str, str | None]
    alerts: frozenset[str] = field(default_factory=frozenset)
    bottleneck: int = 0
