"""The model server by its own metrics: TensorFlow Serving's, which the embedded one gives as well."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from riverlens_dashboards.board import PIPELINE, SERVERS, board, fill
from riverlens_dashboards.parts import LOAD, Lines, Number, Part, Spread
from riverlens_dashboards.promql import PIPELINE as P
from riverlens_dashboards.promql import SERVER, mean, median_and_p99, most, rate, select, total_rate

_SERVING = ":tensorflow:serving:"
_SESSION = ":tensorflow:serving:batching_session:"


def _busy(by: str = "") -> str:
    """Share of the time that graphs ran: seconds of running a second."""
    return f"{total_rate(':tensorflow:core:graph_run_time_usecs', by=by, of=SERVER)} / 1e6"


_NOW: tuple[Part, ...] = (
    Number(
        "Servers that answer",
        "1 where Prometheus gets metrics of a server, 0 where it does not.",
        {"{{instance}}": select("up", of=SERVER)},
        unit="none",
        words={0: ("AWAY", "red"), 1: ("UP", "green")},
        width=6,
        nothing="none is scraped",
    ),
    Number(
        "Busy",
        "Graphs at work on average, of all servers. 1 for each device: it never rests.",
        {"busy": _busy()},
        unit="percentunit",
        width=6,
    ),
    Number(
        "Frames a second",
        "Rows of all calls, counted where --enable_batching is on.",
        {"frames": total_rate(f"{_SESSION}input_batch_size_sum", of=SERVER)},
        unit="cps",
        decimals=1,
        width=6,
    ),
    Number(
        "Load, as the workers see it",
        "Arrivals over what full batches carry, of the busiest worker.",
        {"{{job}}": select("riverlens:load_ratio:max", of=P)},
        unit="percentunit",
        steps=LOAD,
        width=6,
    ),
)


_CALLS: tuple[Part, ...] = (
    Lines(
        "Calls a second, by status",
        "All models. Anything but OK is told in the server's log; what the worker does of it, in its own.",
        {
            "{{model_name}} {{status}}": total_rate(
                f"{_SERVING}request_count", by="model_name, status", of=SERVER
            )
        },
        unit="cps",
        stacked=True,
    ),
    Lines(
        "Time of a call inside the server",
        "Request read to answer written, in microseconds: its queue and the graph.",
        median_and_p99(f"{_SERVING}request_latency", by="model_name", of=SERVER),
        unit="µs",
    ),
    Lines(
        "Time of running the graph",
        "Mean, in microseconds. What a call takes beyond it is the server's queue.",
        {"{{model_name}}": mean(f"{_SERVING}runtime_latency", by="model_name", of=SERVER)},
        unit="µs",
    ),
    Lines(
        "Busy, by server",
        "Graphs at work on average. Workers that wait while this is low: the network, or the calls are small.",
        {"{{instance}}": _busy("instance")},
        unit="percentunit",
    ),
    Lines(
        "Frames in a call, mean",
        "What the workers send, before the server merges calls. Small while they wait: see `why is it slow`.",
        {"mean": mean(f"{_SESSION}input_batch_size", of=SERVER)},
        unit="none",
        decimals=1,
    ),
    Lines(
        "Seen from the workers",
        "Time of a Predict call, request sent to answer received. Far above the server's own: the network.",
        median_and_p99("riverlens_predict_seconds", of=P),
        unit="s",
    ),
)


_BATCHING: tuple[Part, ...] = (
    Lines(
        "Waiting in the server's queue",
        "In microseconds. Long with one worker: batch_timeout_micros is not 0, or a request waits for a thread.",
        median_and_p99(f"{_SESSION}queuing_latency", of=SERVER),
        unit="µs",
    ),
    Spread(
        "Frames in the server's batches",
        "Batches a second by size, after merging and padding.",
        f"sum by (le) ({rate(f'{_SESSION}processed_batch_size_bucket', of=SERVER)})",
    ),
    Lines(
        "Padding",
        "Rows added to reach the next of allowed_batch_sizes, a call: work for nothing.",
        {"{{execution_batch_size}}": mean(f"{_SESSION}padding_size", by="execution_batch_size", of=SERVER)},
        unit="none",
        decimals=1,
    ),
)


_VERSIONS: tuple[Part, ...] = (
    Lines(
        "Version that answers, as each worker sees it",
        "A step is a swap. Workers that differ for long: a roll-out has stopped half-way.",
        {"{{instance}}": most("riverlens_model_version", by="instance", of=P)},
        unit="none",
        decimals=0,
    ),
    Lines(
        "Versions loaded",
        "Attempts since the server's start, by outcome; a failure is told in its log.",
        {
            "{{model_path}} {{status}}": "sum by (model_path, status) "
            f"({select(':tensorflow:cc:saved_model:load_attempt_count', of=SERVER)})"
        },
        unit="short",
        decimals=0,
    ),
    Lines(
        "Time to load a version",
        "Since the server's start, in microseconds, all loads together.",
        {
            "{{model_path}}": "sum by (model_path) "
            f"({select(':tensorflow:cc:saved_model:load_latency', of=SERVER)})"
        },
        unit="µs",
    ),
)


def dashboard() -> Dashboard:
    """The dashboard, whole."""
    why = (
        "What TensorFlow Serving says of itself, beside what the workers see. "
        "It needs --monitoring_config_file and --rest_api_port."
    )
    rows = [
        ("Now", _NOW),
        ("Calls", _CALLS),
        ("The server's own batching (--enable_batching)", _BATCHING),
        ("Versions", _VERSIONS),
    ]
    return fill(board("model-server", "model server", why, (PIPELINE, SERVERS)), rows)
