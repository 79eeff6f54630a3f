"""Why is it slow: the bottleneck in words, and what to do about it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from riverlens_dashboards.board import PIPELINE, WORKER, board, fill
from riverlens_dashboards.bottleneck import VERDICTS
from riverlens_dashboards.evidence import ARRIVALS, BATCHING, KAFKA, SERVERS, WORKERS
from riverlens_dashboards.parts import HALF, LOAD, Lines, Number, Part, Words, WordsOverTime
from riverlens_dashboards.promql import PIPELINE as P
from riverlens_dashboards.promql import select

_GUIDE = """\
| it says | look at | then |
|---|---|---|
| Model server: away or failing | the model servers, *Model servers that are asked*, *Failed Predict calls* | mend them; \
frames wait on Kafka, none is lost |
| No worker runs | the workers' logs | start workers |
| Kafka: slow or away | the brokers, *Requests to Kafka that failed*, *Publishing an event* | mend it; \
neither workers nor model servers help |
| Cameras: no frame arrives | the dashboard *cameras*, the producers | |
| One partition | *Partitions that stand still*, *Lag by partition* | a stuck frame ends by itself or as a dead \
letter; give a hot camera a partition of its own |
| Batching: calls leave small | *Why batches left*, *Frames a call may hold* | one image size; larger \
`max_batch_bytes`; find the poison among the dead letters |
| Model server busy | *Calls under way*, *Load* | **add model servers**, or a larger `max_batch_size` |
| Workers busy | *Processor*, *Decoding threads at work*, *How late the event loop is* | **add workers**, at most as \
many as partitions, or `decode_threads` |
| References | *Fetching a reference* | their hosts |

Each line is explained in docs/operations.md, "Where the bottleneck is".
"""


_VERDICT: tuple[Part, ...] = (
    Number(
        "The bottleneck is",
        "The first cause that holds, of all workers together; the table at the end says what to do.",
        {"{{job}}": select("riverlens:bottleneck", of=P)},
        unit="none",
        width=HALF,
        height=6,
        words=VERDICTS,
        nothing="dashboards/prometheus/rules are not loaded",
    ),
    WordsOverTime(
        "What it was",
        "The bottleneck over time; a colour that comes and goes is a limit that is nearly reached.",
        {"{{job}}": select("riverlens:bottleneck", of=P)},
        VERDICTS,
    ),
    Number(
        "Frames wait",
        "More than two seconds of frames on Kafka, a second in the workers, or a twentieth dropped.",
        {"{{job}}": select("riverlens:behind", of=P)},
        unit="none",
        words={0: ("no", "green"), 1: ("yes", "orange")},
        nothing="no frames",
    ),
    Number(
        "Waiting on Kafka",
        "Frames that no worker has read, all partitions together.",
        {"{{job}}": select("riverlens:lag_frames:sum", of=P)},
        unit="short",
    ),
    Number(
        "Oldest frame",
        "Age, since capture, of the oldest frame that is read and not settled. Says too much where clocks differ.",
        {"{{job}}": select("riverlens:lag_seconds:max", of=P)},
        unit="s",
        decimals=1,
    ),
    Number(
        "Load of the busiest worker",
        "Arrivals over what full batches carry. Above 1 the model servers cannot keep up.",
        {"{{job}}": select("riverlens:load_ratio:max", of=P)},
        unit="percentunit",
        steps=LOAD,
    ),
    Number(
        "Dropped",
        "Share of the frames that freshness policies drop.",
        {"{{job}}": select("riverlens:drops:ratio1m", of=P)},
        unit="percentunit",
        decimals=1,
    ),
    Number(
        "Dead letters",
        "Share of the frames that become dead letters.",
        {"{{job}}": select("riverlens:dead_letters:ratio1m", of=P)},
        unit="percentunit",
        decimals=1,
    ),
    Lines(
        "Capture to event, each worker",
        "One worker far above the others: its machine, or the cameras of its partitions.",
        {
            "p50 {{instance}}": select("riverlens:latency_seconds:p50_1m"),
            "p99 {{instance}}": select("riverlens:latency_seconds:p99_1m"),
        },
        unit="s",
        width=HALF,
    ),
    Lines(
        "Dead letters a second",
        "Searching for the guilty frame costs calls: many of them make everything slow.",
        {"{{job}}": select("riverlens:dead_letters:rate1m", of=P)},
        unit="cps",
        width=HALF,
    ),
)


def dashboard() -> Dashboard:
    """The dashboard, whole."""
    why = "What holds the frames up, in words, and what shows it. Needs the rules in dashboards/prometheus/rules."
    rows = [
        ("Verdict", _VERDICT),
        ("Cameras and Kafka: what arrives", ARRIVALS),
        ("Workers", WORKERS),
        ("Batching", BATCHING),
        ("Model servers", SERVERS),
        ("Kafka and the group", KAFKA),
        ("How to read it", [Words("What to do", _GUIDE, height=11)]),
    ]
    return fill(board("why", "why is it slow", why, (PIPELINE, WORKER)), rows)
