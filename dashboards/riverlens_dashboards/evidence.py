"""The evidence that `why is it slow` shows, part by part, in the order frames pass them."""

from __future__ import annotations

from riverlens_dashboards.parts import HALF, Lines, Part
from riverlens_dashboards.promql import PIPELINE as P
from riverlens_dashboards.promql import mean, mean_and_p99, most, quantile, rate, select, total, total_rate

FAILED_CALLS = Lines(
    "Failed Predict calls",
    "A second, by gRPC code; they are tried again. RESOURCE_EXHAUSTED, UNAVAILABLE: too much to do, or away.",
    {"{{code}}": total_rate("riverlens_predict_errors_total", by="code")},
    unit="cps",
    stacked=True,
)
FRAMES_IN_FLIGHT = Lines(
    "Frames in flight",
    "Read and not settled. At room_frames a partition: the worker waits for what comes after it.",
    {"{{instance}}": total("riverlens_in_flight_frames", by="instance")},
    unit="short",
)
"""On the overview as well."""

ARRIVALS: tuple[Part, ...] = (
    Lines(
        "Frames a second",
        "Read from Kafka, and events. Nothing read and nothing waiting: the cameras send nothing.",
        {
            "read, {{job}}": select("riverlens:frames_in:rate1m", of=P),
            "events, {{job}}": select("riverlens:events:rate1m", of=P),
        },
        unit="cps",
    ),
    Lines(
        "Capture to receipt",
        "The camera, the producer, Kafka, and the wait on Kafka. Constant and large: a camera's clock is wrong.",
        mean_and_p99("riverlens_stage_seconds", 'stage="broker"'),
        unit="s",
    ),
    Lines(
        "Lag by partition",
        "The ten largest. One far above the others: a hot camera, or a stuck frame.",
        {"{{partition}}": f"topk(10, {most('riverlens_lag_frames', by='partition')})"},
        unit="short",
    ),
)
"""What comes from the cameras, and how long it lies on Kafka."""


WORKERS: tuple[Part, ...] = (
    Lines(
        "Processor",
        "Cores that each worker uses. At what it may use: add workers, or cores.",
        {"{{instance}}": total_rate("process_cpu_seconds_total", by="instance")},
        unit="none",
        decimals=2,
    ),
    Lines(
        "Decoding threads at work",
        "Mean number. Near decode_threads: decoding is the limit.",
        {"{{instance}}": total_rate("riverlens_stage_seconds_sum", 'stage="decode"', by="instance")},
        unit="none",
        decimals=2,
    ),
    Lines(
        "How late the event loop is",
        "p90. Above a tenth of a second one step holds everything up, or the processor is not ours.",
        {"{{instance}}": quantile(0.9, "riverlens_loop_lag_seconds", by="instance")},
        unit="s",
    ),
    FRAMES_IN_FLIGHT,
    Lines(
        "Waiting inside",
        "Mean time of a frame in the worker's queues: for decoding, a batch, the device.",
        {"{{instance}}": mean("riverlens_stage_seconds", 'stage="queue"', by="instance")},
        unit="s",
    ),
    Lines(
        "Memory",
        "Resident memory. Bounded by total_room_bytes and calls under way; a steady climb is a defect.",
        {"{{instance}}": total("process_resident_memory_bytes", by="instance")},
        unit="bytes",
    ),
    Lines(
        "Fetching a reference",
        "Mean time, where frames are references; empty where none is.",
        {
            "mean": mean("riverlens_reference_seconds"),
            "further tries a second": total_rate("riverlens_reference_retries_total"),
        },
        unit="s",
        width=HALF,
    ),
    Lines(
        "Frames encoded again",
        "A second, by reason: decoded and encoded again because the server could not read them as they are.",
        {"{{reason}}": total_rate("riverlens_frames_reencoded_total", by="reason")},
        unit="cps",
        width=HALF,
    ),
)
"""Processor, decoding, the event loop, what is inside."""


BATCHING: tuple[Part, ...] = (
    Lines(
        "Why batches left, shares",
        "full, bytes: at a limit. device_free: the device could take more. shape: images of many sizes.",
        {"{{job}} {{reason}}": select("riverlens:batches:share1m", of=P)},
        unit="percentunit",
        stacked=True,
    ),
    Lines(
        "How full batches are",
        "Frames in a call over the most it may hold. Small while frames wait: batching is the bottleneck.",
        {"{{job}}": select("riverlens:batch_fill:ratio1m", of=P)},
        unit="percentunit",
    ),
    Lines(
        "Frames a call may hold",
        "Setting, server's limit, memory, poison. left: as a part of the most in six hours.",
        {
            "{{instance}}": most("riverlens_batch_limit_rows", by="instance"),
            "left, {{job}}": select("riverlens:batch_limit:left6h", of=P),
        },
        unit="none",
    ),
)
"""Whether calls are full, and why not."""


SERVERS: tuple[Part, ...] = (
    Lines(
        "Calls under way",
        "Mean number, of each worker at each model server. 1 and more: it never rests.",
        {"{{job}}": select("riverlens:calls_under_way:avg1m", of=P)},
        unit="none",
        decimals=2,
        limit=1,
    ),
    Lines(
        "Calls under way, by model server",
        "Now, of all workers. One with more than the others is slower.",
        {"{{endpoint}}": total("riverlens_endpoint_calls_in_flight", by="endpoint")},
        unit="none",
    ),
    Lines(
        "Frames a second, by model server",
        "Answered frames. One with fewer than the others is slower, or is left out.",
        {"{{endpoint}}": total_rate("riverlens_endpoint_frames_total", by="endpoint")},
        unit="cps",
    ),
    Lines(
        "Model servers that are asked",
        "1: asked. 0: left out until it says AVAILABLE again.",
        {"{{endpoint}}": most("riverlens_endpoint_up", by="endpoint")},
        unit="none",
        decimals=0,
    ),
    FAILED_CALLS,
    Lines(
        "Times a model server was left out",
        "In the last five minutes.",
        {"{{endpoint}}": f"sum by (endpoint) (increase({select('riverlens_endpoint_ejections_total')}[5m]))"},
        unit="short",
        decimals=0,
    ),
)
"""Whether the model servers ever rest, as the workers see it."""


KAFKA: tuple[Part, ...] = (
    Lines(
        "Requests to Kafka that failed",
        "A second; they are tried again.",
        {"{{instance}}": total_rate("riverlens_poll_errors_total", by="instance")},
        unit="cps",
    ),
    Lines(
        "Publishing an event",
        "Answer to acknowledged event: order within the partition, then Kafka.",
        mean_and_p99("riverlens_stage_seconds", 'stage="publish"'),
        unit="s",
    ),
    Lines(
        "Partitions that stand still",
        "For how long, the ten worst: a frame at their front is neither answered nor given up.",
        {"{{partition}}": f"topk(10, {most('riverlens_partition_stalled_seconds', by='partition')})"},
        unit="s",
    ),
    Lines(
        "Partitions moved, workers started",
        "A second. Frames wait for some seconds whenever partitions move.",
        {
            "{{event}}": total_rate("riverlens_rebalances_total", by="event"),
            "starts, {{instance}}": f"changes({select('process_start_time_seconds')}[5m])",
        },
        unit="none",
        width=HALF,
    ),
    Lines(
        "Frames lost to retention",
        "A second: they lay on Kafka for longer than it keeps them.",
        {"expired": f"sum({rate('riverlens_frames_expired_total')})"},
        unit="cps",
        width=HALF,
    ),
)
"""Requests, publishing, partitions."""
