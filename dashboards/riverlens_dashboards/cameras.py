"""Cameras: which of them send, how much of it becomes events, what is dropped, whose clock is wrong."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from riverlens_dashboards.board import CAMERAS, PIPELINE, board, fill
from riverlens_dashboards.parts import HALF, Lines, Number, Part
from riverlens_dashboards.promql import PIPELINE as P
from riverlens_dashboards.promql import PRODUCER, select, total_rate


def _produced(counter: str, by: str) -> str:
    return total_rate(f"riverlens_producer_{counter}_total", _CAMERA, by=by, of=PRODUCER)


_CAMERA = 'camera=~"$camera"'
_SENDING = select("riverlens:camera_events:rate1m", _CAMERA, of=P)
_ALIVE = select("riverlens:camera_frames:rate1m", _CAMERA, of=P)
_MOST = f"max_over_time({_ALIVE}[1h])"
_EVENTS = total_rate("riverlens_camera_frames_total", _CAMERA, by="camera", of=P)
_DROPS = total_rate("riverlens_camera_drops_total", _CAMERA, by="camera, reason", of=P)
_SKEW = select("riverlens_camera_skew_seconds", _CAMERA, of=P)


_NOW: tuple[Part, ...] = (
    Number(
        "Cameras with events",
        "Those that had an event in the last minute.",
        {"cameras": f"count({_SENDING} > 0)"},
        unit="short",
        width=8,
        nothing="none",
    ),
    Number(
        "Silent cameras",
        "Those known to the workers of which no frame was answered or dropped in the last minute.",
        {"cameras": f"sum({_ALIVE} == bool 0)"},
        unit="short",
        width=8,
        steps=((None, "green"), (1, "orange")),
    ),
    Number(
        "Events a second",
        "Of the cameras chosen.",
        {"events": f"sum({_SENDING})"},
        unit="cps",
        decimals=1,
        width=8,
    ),
)


_FRAMES: tuple[Part, ...] = (
    Lines(
        "Events a second, each camera",
        "The 20 busiest of those chosen.",
        {"{{camera}}": f"topk(20, {_EVENTS})"},
        unit="cps",
        width=HALF,
    ),
    Lines(
        "The quietest cameras",
        "The ten that send least, as a part of the most each has sent in an hour: 0 has fallen silent.",
        {"{{camera}}": f"bottomk(10, sum by (camera) ({_ALIVE}) / sum by (camera) ({_MOST})) >= 0"},
        unit="percentunit",
        width=HALF,
    ),
)


_LOSSES: tuple[Part, ...] = (
    Lines(
        "Dropped on purpose",
        "A second, by camera and reason. stale: older than the freshness policy allows. superseded: a newer one waited. unchanged: answered, and nothing was new.",
        {"{{camera}} {{reason}}": f"topk(20, {_DROPS})"},
        unit="cps",
        stacked=True,
    ),
    Lines(
        "Clocks behind",
        "Delay from capture to Kafka that is always there: the camera's clock is behind by so much.",
        {"{{camera}}": f"topk(20, max by (camera) ({_SKEW}))"},
        unit="s",
    ),
    Lines(
        "Clocks ahead",
        "Frames from the future, a second, all cameras together; the headers of their events say which.",
        {"frames": total_rate("riverlens_future_captures_total", of=P)},
        unit="cps",
    ),
)

_UP = select("riverlens_producer_camera_up", _CAMERA, of=PRODUCER)
_AGE = select("riverlens_producer_frame_age_seconds", _CAMERA, of=PRODUCER)
_PRODUCERS: tuple[Part, ...] = (
    Lines(
        "Connected",
        "1: frames come from the camera. 0: the producer tries again and again.",
        {"{{camera}}": f"min by (camera) ({_UP})"},
        unit="none",
        decimals=0,
    ),
    Lines(
        "Frames a second from each camera",
        "As they come, before a limit of the rate; the 20 fastest.",
        {"{{camera}}": f"topk(20, {_produced('received_frames', 'camera')})"},
        unit="cps",
    ),
    Lines(
        "Frames a second into Kafka",
        "Acknowledged; the 20 fastest.",
        {"{{camera}}": f"topk(20, {_produced('frames', 'camera')})"},
        unit="cps",
    ),
    Lines(
        "Age of the newest frame",
        "Since capture. Climbing: the camera has stopped.",
        {"{{camera}}": f"topk(20, max by (camera) ({_AGE}))"},
        unit="s",
    ),
    Lines(
        "Frames that were not sent",
        "A second. kafka_slow: newer ones had priority. late: the camera is faster than its limit. broken: no image.",
        {"{{camera}} {{reason}}": f"topk(20, {_produced('drops', 'camera, reason')})"},
        unit="cps",
        stacked=True,
    ),
    Lines(
        "Reconnects",
        "A second, by reason.",
        {"{{camera}} {{reason}}": f"topk(20, {_produced('reconnects', 'camera, reason')})"},
        unit="cps",
        stacked=True,
    ),
    Lines(
        "Image bytes a second",
        "Into Kafka, by camera; what its disks must hold for the retention.",
        {"{{camera}}": f"topk(20, {_produced('frame_bytes', 'camera')})"},
        unit="Bps",
        width=HALF,
    ),
    Lines(
        "Waiting for Kafka",
        "Frames that a producer holds until Kafka has acknowledged them. High: Kafka is slow.",
        {
            "frames {{instance}}": select("riverlens_producer_buffered_frames", of=PRODUCER),
            "MB {{instance}}": select("riverlens_producer_buffered_bytes", of=PRODUCER) + " / 1e6",
        },
        unit="none",
        width=HALF,
    ),
)


def dashboard() -> Dashboard:
    """The dashboard, whole."""
    why = "What each camera sends and what becomes of it. The first 200 cameras have series of their own."
    rows = [("Now", _NOW), ("Frames", _FRAMES), ("Losses and clocks", _LOSSES), ("Producers", _PRODUCERS)]
    return fill(board("cameras", "cameras", why, (PIPELINE, CAMERAS)), rows)
