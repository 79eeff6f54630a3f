"""The overview: frames in, events out, and what takes the time between."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from riverlens_dashboards.board import PIPELINE, WORKER, board, fill
from riverlens_dashboards.bottleneck import VERDICTS
from riverlens_dashboards.evidence import FAILED_CALLS, FRAMES_IN_FLIGHT
from riverlens_dashboards.parts import HALF, LOAD, WHOLE, Lines, Number, Part, Spread
from riverlens_dashboards.promql import PIPELINE as OF_PIPELINE
from riverlens_dashboards.promql import mean, median_and_p99, most, quantile, select, total, total_rate

STATES = {
    0: ("STARTING", "blue"),
    1: ("RUNNING", "green"),
    2: ("DRAINING", "orange"),
    3: ("STOPPED", "red"),
    4: ("FAILED", "red"),
}


_NOW: tuple[Part, ...] = (
    Number(
        "Where the bottleneck is",
        "What holds the frames up, of all workers together. Why: dashboard `why is it slow`.",
        {"{{job}}": select("riverlens:bottleneck", of=OF_PIPELINE)},
        unit="none",
        width=WHOLE,
        height=4,
        words=VERDICTS,
        nothing="dashboards/prometheus/rules are not loaded",
    ),
    Number(
        "State",
        "What each worker is doing. FAILED: its log says why.",
        {"{{instance}}": select("riverlens_state")},
        unit="none",
        words=STATES,
    ),
    Number(
        "Frames in",
        "Frames read from Kafka, a second, by all workers shown.",
        {"in": total_rate("riverlens_frames_consumed_total")},
        unit="cps",
        decimals=1,
    ),
    Number(
        "Events out",
        "Frames whose event Kafka has acknowledged, a second.",
        {"out": total_rate("riverlens_frames_total", 'outcome="published"')},
        unit="cps",
        decimals=1,
    ),
    Number(
        "Capture to event, p99",
        "99 of 100 frames took no longer from capture to acknowledged event.",
        {"p99": quantile(0.99, "riverlens_frame_latency_seconds")},
        unit="s",
        decimals=3,
    ),
    Number(
        "Load",
        "Arrival rate over the rate at which full batches go through. Above 1 the backlog grows.",
        {"load": most("riverlens_load_ratio")},
        unit="percentunit",
        steps=LOAD,
    ),
    Number(
        "Not accounted for",
        "Frames read, less those settled, less those in flight. Anything but 0 is a defect: please report it.",
        {"frames": f"max(abs({select('riverlens_balance_difference')}))"},
        unit="short",
        steps=((None, "red"), (0, "green"), (1, "red")),
    ),
)


_BY_CAMERA = total_rate("riverlens_camera_frames_total", by="camera")
_FRAMES: tuple[Part, ...] = (
    Lines(
        "Frames a second, in and out",
        "In: read from Kafka. The others: settled, by outcome.",
        {
            "in": total_rate("riverlens_frames_consumed_total"),
            "{{outcome}}": total_rate("riverlens_frames_total", by="outcome"),
        },
        unit="cps",
    ),
    Lines(
        "Frames without an event",
        "Dead letters, drops and frames given up to another worker, a second, by reason. "
        "Dead letters are kept whole on frames.dlq.",
        {
            "{{outcome}} {{reason}}": total_rate(
                "riverlens_frames_total", 'outcome!="published"', by="outcome, reason"
            )
        },
        unit="cps",
        stacked=True,
    ),
    Lines(
        "Events a second, by camera",
        "The 20 busiest cameras. A camera that fell to 0 sends nothing.",
        {"{{camera}}": f"topk(20, {_BY_CAMERA})"},
        unit="cps",
    ),
)


_LATENCY: tuple[Part, ...] = (
    Lines(
        "Capture to event",
        "From the capture time in the frame to the event acknowledged by Kafka.",
        median_and_p99("riverlens_frame_latency_seconds"),
        unit="s",
    ),
    Lines(
        "Where the time goes: mean of each stage",
        "Stacked: together about the mean latency. broker: capture to receipt; queue: waiting for decode, "
        "batch and device; decode; predict; publish.",
        {"{{stage}}": mean("riverlens_stage_seconds", by="stage")},
        unit="s",
        stacked=True,
    ),
    Lines(
        "Where the time goes: p99 of each stage",
        "The slowest frames of each stage; they need not be the same frames.",
        {"{{stage}}": quantile(0.99, "riverlens_stage_seconds", by="stage")},
        unit="s",
    ),
)


_BATCHES: tuple[Part, ...] = (
    Lines(
        "Frames in a batch, mean",
        "Near the limit: the device is the bottleneck. Near 1: it waits for frames, which is what low "
        "latency looks like.",
        {"mean": mean("riverlens_batch_rows")},
        unit="none",
        decimals=1,
    ),
    Spread(
        "Frames in a batch, distribution",
        "Batches a second by how many frames they held.",
        total_rate("riverlens_batch_rows_bucket", by="le"),
    ),
    Lines(
        "Why batches left",
        "full or bytes: at the limit. device_free: the device could take them. shape: another image size "
        "waited. drain: a worker stops.",
        {"{{reason}}": total_rate("riverlens_batches_total", by="reason")},
        unit="cps",
        stacked=True,
    ),
)


_SERVER: tuple[Part, ...] = (
    Lines(
        "Time of a Predict call",
        "Request sent to answer received: the network, the server's queue and the device.",
        median_and_p99("riverlens_predict_seconds"),
        unit="s",
    ),
    FAILED_CALLS,
    Lines(
        "Predict calls under way, and the model's version",
        "Calls at the limit max_in_flight_calls: the server is the bottleneck. A step in the version is a "
        "hot swap.",
        {
            "calls": total("riverlens_calls_in_flight"),
            "version, {{instance}}": most("riverlens_model_version", by="instance"),
        },
        unit="none",
    ),
)


_BACKLOG: tuple[Part, ...] = (
    Lines(
        "Load of each worker",
        "Arrival rate over the rate of full batches; above the line the backlog grows.",
        {"{{instance}}": most("riverlens_load_ratio", by="instance")},
        unit="percentunit",
        limit=1,
    ),
    Lines(
        "Lag in frames",
        "Frames on Kafka that no worker has read yet.",
        {
            "all partitions": total("riverlens_lag_frames"),
            "worst partition": most("riverlens_lag_frames"),
        },
        unit="short",
    ),
    Lines(
        "Lag in seconds",
        "Age of the oldest frame that is read and not settled; and how long a partition with frames has not "
        "moved on.",
        {
            "oldest": most("riverlens_lag_seconds"),
            "longest standstill of a partition": most("riverlens_partition_stalled_seconds"),
        },
        unit="s",
    ),
    FRAMES_IN_FLIGHT,
    Lines(
        "Bytes in flight",
        "Of the frames in flight, encoded and decoded, by worker.",
        {"{{instance}}": total("riverlens_in_flight_bytes", by="instance")},
        unit="bytes",
    ),
    Lines(
        "Lost to retention, Kafka not answering, clocks ahead",
        "A second. expired: retention removed frames before they were read: too few workers, or too short a "
        "retention. no answer: requests to Kafka that failed; they are tried again. ahead: a camera's clock "
        "is ahead of the worker's.",
        {
            "expired": total_rate("riverlens_frames_expired_total"),
            "no answer": total_rate("riverlens_poll_errors_total"),
            "ahead": total_rate("riverlens_future_captures_total"),
        },
        unit="cps",
    ),
)


_MOVED = select("riverlens_rebalances_total")
_GROUP: tuple[Part, ...] = (
    Lines(
        "Partitions of each worker",
        "A worker without partitions is one too many: frames has as many partitions as workers can share.",
        {"{{instance}}": most("riverlens_partitions", by="instance")},
        unit="short",
        decimals=0,
        width=HALF,
    ),
    Lines(
        "Partitions that moved",
        "In the last five minutes. Moves without a deployment: workers miss their heartbeat, or restart.",
        {"{{event}}": f"sum by (event) (increase({_MOVED}[5m]))"},
        unit="short",
        decimals=0,
        width=HALF,
    ),
)


def dashboard() -> Dashboard:
    """The dashboard, whole."""
    why = "Frames in, events out, and what takes the time between."
    rows = [
        ("Now", _NOW),
        ("Frames", _FRAMES),
        ("Latency", _LATENCY),
        ("Batches", _BATCHES),
        ("Model server, as the workers see it", _SERVER),
        ("Backlog", _BACKLOG),
        ("Consumer group", _GROUP),
    ]
    return fill(board("overview", "overview", why, (PIPELINE, WORKER)), rows)
