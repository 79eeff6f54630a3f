"""What can go wrong, told as series, with the alerts and the bottleneck that must follow."""

from __future__ import annotations

from collections.abc import Mapping

from tests.alert_series import Cause, flat, rising, rising_until

_WORKER = 'job="riverlens-worker"'
_W1 = 'instance="w1:9100"'
_BEHIND = {
    "riverlens_lag_frames": rising(5),
    'riverlens_stage_seconds_sum{stage="queue"}': rising(50 * 8),
    "riverlens_in_flight_frames": flat(1500),
}
"""Frames wait on Kafka, more every second, and those that are read wait inside."""
_BUSY = {"riverlens_predict_seconds_sum": rising(3.5)}
"""1.75 calls under way at each of two servers, by each worker, all the time."""
_FULL = {
    'riverlens_batches_total{reason="full"}': rising(11.5),
    'riverlens_batches_total{reason="device_free"}': rising(0.5),
}
_NO_EVENTS = {
    'riverlens_frames_total{outcome="published"}': rising_until(50, 5),
    "riverlens_camera_frames_total": rising_until(10, 5),
}


def _cause(name: str, changes: Mapping[str, str | None], *alerts: str, bottleneck: int = 0) -> Cause:
    return Cause(name, dict(changes), frozenset(f"Riverlens{alert}" for alert in alerts), bottleneck)


CAUSES = (
    _cause("ordinary times", {}),
    _cause("a line that waits for its first camera", {
        "riverlens_frames_consumed_total": flat(0),
        "riverlens_frames_total": flat(0),
        "riverlens_camera_frames_total": None,
        "riverlens_camera_drops_total": None,
        "riverlens_camera_skew_seconds": None,
        "riverlens_producer_camera_up": None,
        "riverlens_batches_total": flat(0),
        "riverlens_batch_rows_sum": flat(0),
        "riverlens_batch_rows_count": flat(0),
        "riverlens_predict_seconds_sum": flat(0),
        "riverlens_predict_seconds_count": flat(0),
        "riverlens_stage_seconds_sum": flat(0),
        "riverlens_stage_seconds_count": flat(0),
        "riverlens_frame_latency_seconds_bucket": flat(0),
        "riverlens_in_flight_frames": flat(0),
        "riverlens_load_ratio": flat(0),
        "riverlens_lag_frames": flat(0),
        "riverlens_lag_seconds": flat(0),
        "riverlens_model_version": flat(0),
    }, bottleneck=4),
    _cause("a scene in which nothing changes, where only changes are events", {
        "riverlens_camera_frames_total": rising_until(10, 5),
        "riverlens_camera_drops_total": rising(10),
        'riverlens_frames_total{outcome="published"}': rising_until(50, 5),
    }),
    _cause("both workers are rolled out, one after the other", {
        'riverlens_rebalances_total{event="revoked"}': "0x40 24x80",
    }),
    _cause("no model server answers", {
        **_NO_EVENTS,
        "riverlens_endpoint_up": flat(0),
        'riverlens_predict_errors_total{code="UNAVAILABLE"}': rising(2),
        "riverlens_predict_seconds_count": rising_until(12, 5),
        "riverlens_batches_total": rising_until(5, 5),
        "riverlens_frames_consumed_total": rising_until(50, 5),
        "riverlens_lag_frames": rising(4),
        "riverlens_lag_seconds": rising(1),
    }, "ModelServerAway", "PredictErrors", "CameraSilent", "LagGrows", "RetentionNear", bottleneck=1),
    _cause("every call fails", {
        'riverlens_predict_errors_total{code="UNAVAILABLE"}': rising(20),
    }, "PredictErrors", bottleneck=1),
    _cause("one of two model servers is left out", {
        'riverlens_endpoint_up{endpoint="gpu2:8500"}': flat(0),
        'up{instance="gpu2:8501"}': flat(0),
    }, "ModelServerLeftOut", "ModelServerDown"),
    _cause("all workers are gone from service discovery", {
        f"{metric}{{{_WORKER}}}": None for metric in (
            "up", "riverlens_state", "riverlens_partitions", "riverlens_endpoint_up", "riverlens_lag_frames",
            "riverlens_poll_errors_total", "riverlens_frames_consumed_total", "riverlens_frames_total",
            "riverlens_camera_frames_total", "riverlens_camera_drops_total", "process_start_time_seconds",
        )
    }, "NoWorker", bottleneck=2),
    _cause("all workers have crashed and are still listed", {
        f"up{{{_WORKER}}}": flat(0),
        "riverlens_state": None,
    }, "NoWorker", "WorkerDown", bottleneck=2),
    _cause("one worker does not answer", {f"up{{{_W1}}}": flat(0)}, "WorkerDown"),
    _cause("a worker does not get beyond its start", {
        f"riverlens_state{{{_W1}}}": flat(0),
    }, "WorkerNotRunning"),
    _cause("a worker is restarted over and over", {
        f"process_start_time_seconds{{{_W1}}}": rising(1),
    }, "WorkerRestarts"),
    _cause("Kafka does not answer", {
        "riverlens_poll_errors_total": rising(0.1),
        "riverlens_frames_consumed_total": rising_until(50, 5),
        **_NO_EVENTS,
    }, "KafkaErrors", "CameraSilent", bottleneck=3),
    _cause("Kafka acknowledges late", {
        'riverlens_stage_seconds_sum{stage="publish"}': rising(50 * 3),
    }, "PublishSlow", bottleneck=3),
    _cause("Kafka hands frames out slowly", {
        **_BEHIND,
        'riverlens_stage_seconds_sum{stage="queue"}': rising(1),
        "riverlens_in_flight_frames": flat(3),
    }, "LagGrows", bottleneck=3),
    _cause("no frame arrives", {
        "riverlens_frames_consumed_total": rising_until(50, 5),
        **_NO_EVENTS,
    }, "NoFrames", "CameraSilent", bottleneck=4),
    _cause("one camera falls silent, its worker's series and all", {
        "riverlens_camera_frames_total": "0+150x20 _x100",
    }, "CameraSilent"),
    _cause("a camera's connection is lost", {"riverlens_producer_camera_up": flat(0)}, "CameraDown"),
    _cause("a frame stands still in one partition", {
        'riverlens_partition_stalled_seconds{partition="3"}': rising(1),
        'riverlens_lag_frames{partition="3"}': rising(5),
    }, "PartitionStalled", "LagGrows", bottleneck=5),
    _cause("one camera sends more than its partition's share", {
        **_BEHIND, "riverlens_lag_frames": flat(1), 'riverlens_lag_frames{partition="3"}': rising(5),
    }, "LagGrows", bottleneck=5),
    _cause("frames of ever other sizes", {
        **_BEHIND, **_BUSY,
        'riverlens_batches_total{reason="shape"}': rising(30),
        "riverlens_batch_rows_count": rising(40),
    }, "LagGrows", "BatchesSmall", bottleneck=6),
    _cause("poison has made the calls small", {
        **_BEHIND, **_BUSY, **_FULL,
        "riverlens_batch_limit_rows": "32x20 4x100",
    }, "LagGrows", "BatchesSmall", bottleneck=6),
    _cause("more frames than the model servers take", {
        **_BEHIND, **_BUSY, **_FULL,
    }, "LagGrows", "AddModelServers", bottleneck=7),
    _cause("frames are dropped because the model servers are busy", {
        **_BUSY, **_FULL,
        'riverlens_frames_total{outcome="dropped"}': rising(40),
    }, "Drops", "AddModelServers", bottleneck=7),
    _cause("more frames than the workers decode", _BEHIND, "LagGrows", "AddWorkers", bottleneck=8),
    _cause("references come slowly", {
        **_BEHIND, "riverlens_reference_seconds_sum": rising(7),
    }, "LagGrows", bottleneck=9),
    _cause("a worker's event loop is held up", {
        f'riverlens_loop_lag_seconds_bucket{{{_W1},le="0.001"}}': rising(0),
        f'riverlens_loop_lag_seconds_bucket{{{_W1},le="1"}}': rising(1),
    }, "LoopSlow"),
    _cause("retention is faster than the workers", {
        "riverlens_frames_expired_total": rising(3),
    }, "FramesExpired"),
    _cause("a backlog as old as half the retention", {"riverlens_lag_seconds": flat(500)}, "RetentionNear"),
    _cause("the numbers do not balance", {f"riverlens_balance_difference{{{_W1}}}": flat(-2)}, "Unbalanced"),
    _cause("a camera sends no images", {
        'riverlens_frames_total{outcome="dead_lettered"}': rising(2),
    }, "DeadLetters"),
    _cause("events are late", {
        f'riverlens_frame_latency_seconds_bucket{{{_W1},le="0.1"}}': rising(10),
    }, "LatencyHigh"),
    _cause("more workers than partitions", {f"riverlens_partitions{{{_W1}}}": flat(0)}, "WorkerIdle"),
    _cause("partitions move all the time", {
        'riverlens_rebalances_total{event="revoked"}': rising(0.05),
    }, "Rebalances"),
    _cause("a roll-out of a model has stopped half-way", {
        f"riverlens_model_version{{{_W1}}}": flat(2),
    }, "ModelVersionsDiffer"),
    _cause("a camera's clock is ahead", {"riverlens_future_captures_total": rising(1)}, "CameraClockAhead"),
    _cause("a camera's clock is behind", {"riverlens_camera_skew_seconds": flat(9)}, "CameraClockBehind"),
)  # fmt: skip  # a cause a paragraph reads better
