"""The worker's settings: one frozen object, made once, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from riverlens.frame import MAX_FRAME_BYTES
from riverlens.kafka import KafkaSettings
from riverlens.labels import read as read_labels
from riverlens.logs import LogFormat, LogLevel
from riverlens.settings import Settings, complaints
from riverlens.signature.facts import Boxes, ModelFacts, parse_channels, parse_range
from riverlens.topic_spec import TopicName
from riverlens.tracing import Tracing, TracingEndpoint
from riverlens_worker.contradictions import contradictions
from riverlens_worker.freshness import Freshness, parse_rules
from riverlens_worker.reference_uri import AllowList
from riverlens_worker.selection import MOST_READ, Filters, Selection, parse_scores
from riverlens_worker.servers import parse_servers
from riverlens_worker.zones import Zone, read_zones


def _several(value: Any) -> Any:
    """Text with commas between, as flags and the environment give it; a list as the TOML file does."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class WorkerSettings(Settings):
    """The worker: reads frames, batches them into Predict calls, publishes detection events.

    Try:  riverlens worker run --server gpu1:8500,gpu2:8500 --model street --admin-port 9100
          riverlens worker run --config worker.toml --freshness 'live-*=latest_only'
    """

    table: ClassVar[str] = "worker"

    kafka: KafkaSettings = KafkaSettings()
    """How to reach Kafka."""
    frames_topic: TopicName = "frames"
    """Topic to read frames from."""
    events_topic: TopicName = "detections"
    """Topic to publish events to."""
    dlq_topic: TopicName = "frames.dlq"
    """Topic for frames that cannot become events."""
    group_id: str = Field(default="riverlens", min_length=1)
    """Consumer group; workers of one group share the partitions."""

    server: str = "127.0.0.1:8500"
    """The model servers' gRPC addresses: host:port, several separated by commas, or dns:///name:port for
    every address of a name."""
    server_tls: bool = False
    """Speak TLS with the model servers."""
    server_ca_file: str | None = None
    """PEM file with the authority that signed the model servers' certificates; unset: the system's."""
    server_cert_file: str | None = None
    """PEM file with our certificate, where the model servers ask for one."""
    server_key_file: str | None = None
    """PEM file with its key."""
    server_name: str | None = None
    """Name in the model servers' certificates; unset: that of their addresses."""
    model: str = Field(default="street", min_length=1)
    """Name of the model on the server."""
    signature: str | None = None
    """Signature to call; unset: serving_default if it takes images, else the only one that does."""
    labels: str | None = None
    """Class names: a text file (line k, from 0, names class k), JSON or pbtxt, or `coco` (ids 1 to 90),
    `coco80` (ids 0 to 79); unset: the model's own."""
    min_score: float = Field(default=0.3, ge=0, le=1)
    """Detections and classes below this score are left out of the event."""
    max_detections: int = Field(default=100, ge=1)
    """At most so many detections or classes in one event."""
    only_labels: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Labels that events tell of, as patterns: person,car*; several with commas between. Unset: all."""
    skip_labels: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Labels that events leave out, as patterns, though only_labels may have them."""
    min_scores: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Higher least scores by label, as PATTERN=SCORE, several with commas between; the first pattern that
    matches the label wins: person=0.5,car*=0.6."""
    min_box_area: float = Field(default=0, ge=0, le=1)
    """Detections whose box is a smaller part of the picture than this are left out of the event."""
    max_box_area: float = Field(default=1, ge=0, le=1)
    """Detections whose box is a larger part of the picture than this are left out of the event."""
    zones: Annotated[tuple[Zone, ...], NoDecode, BeforeValidator(read_zones)] = ()
    """Polygons in cameras' pictures: tables [[worker.zones]] with name, cameras (a pattern; unset: all) and
    points ([x, y] as fractions of width and height), or the same as JSON. A detection names the zones that
    the bottom centre of its box lies in."""
    only_zones: bool = False
    """Detections outside all zones of their camera are left out; cameras without zones keep theirs."""
    events: Literal["every-frame", "changes"] = "every-frame"
    """Which frames become events: every one; or each camera's first one and those whose count of a label in
    a zone, or in the picture where the camera has no zones, is another one than before. The rest is dropped
    as unchanged."""
    changes_hold_ms: int = Field(default=0, ge=0)
    """With events=changes: another count is a change once the camera's frames have shown it for so long."""
    input_size: int | None = Field(default=None, ge=16)
    """Longest side in pixels a frame is scaled down to, where the model takes any size; unset: as it is."""
    input_range: str | None = None
    """What black and white become: 0..1, 0..255, or =-1..1; unset: the model's own, else 0..1 for floats."""
    input_mean: str | None = None
    """Taken away after that, a channel each in the model's order: 103.939,116.779,123.68."""
    input_std: str | None = None
    """Divided by after that, a channel each in the model's order: 0.229,0.224,0.225."""
    colour: Literal["rgb", "bgr"] | None = None
    """Order of the channels that the model takes; unset: as the model says, else rgb."""
    resize: Literal["stretch", "letterbox"] | None = None
    """How frames fill a fixed size; letterbox keeps proportions; unset: as the model says, else stretch."""
    output_kind: Literal["detection", "classification", "arrays"] | None = None
    """What the outputs are; unset: as the model says, else told by their names and shapes."""
    boxes: Boxes | None = None
    """Unit and order of the model's boxes; unset: as the model says, else by the form of its outputs."""
    scores: Literal["probabilities", "logits"] | None = None
    """What scores are; unset: told by the model's answer to a test image."""
    nms_iou: float | None = Field(default=None, gt=0, le=1)
    """Boxes of one class that overlap more are one object; unset: 0.5 for raw boxes, none for others."""

    max_batch_size: int = Field(default=32, ge=1, le=1024)
    """Frames in one Predict call, at most; the server's own limit is learnt from its answers."""
    max_batch_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Bytes in one Predict call, at most."""
    max_in_flight_calls: int = Field(default=8, ge=1, le=64)
    """Predict calls under way at once, at each model server, at most; just in time, there is never more than
    one beyond what the server runs side by side."""
    dispatch: Literal["just-in-time", "at-once"] = "just-in-time"
    """When a batch that is not full leaves while the server works: so that it arrives as the device becomes
    free, or at once, as many as max_in_flight_calls."""
    latency_target_ms: float | None = Field(default=None, gt=0)
    """Wanted at most from capture to answer: calls are kept small enough for their oldest frame. Unset: calls
    are as large as they can be without keeping the device waiting."""
    predict_timeout_ms: int = Field(default=60_000, ge=100)
    """Deadline of one Predict call."""
    room_frames: int = Field(default=256, ge=1)
    """Frames of one partition inside the worker, at most; further ones stay on Kafka."""
    room_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of one partition's frames inside the worker, encoded or fetched, at most; decoded ones are
    bounded by max_batch_bytes, for all partitions together."""
    total_room_bytes: int = Field(default=48 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of all partitions' frames inside the worker: each has an equal share, of 1 MiB at least, and
    half of it where that holds frames enough for all calls."""
    decode_threads: int = Field(default=2, ge=1, le=64)
    """Threads that decode images."""
    max_frame_bytes: int = Field(default=MAX_FRAME_BYTES, ge=1024)
    """Larger frames are dead-lettered unread."""
    max_pixels: int = Field(default=64_000_000, ge=10_000)
    """Images of more pixels are dead-lettered before anything is allocated for them."""

    freshness: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Which frames of which cameras count, as PATTERN=POLICY, several with commas between; the first pattern
    that matches the camera id wins: lobby-*=latest_only,gate-?=max_age:500ms. every_frame: all of them.
    max_age:LIMIT: those no older. latest_only: the newest, and none older than 1 s, or latest_only:LIMIT.
    Unset, and where none matches: every_frame."""
    publish_drops: bool = False
    """Publish what the freshness policies drop as well, as riverlens.dropped.v1 in the frame's place among
    the events."""

    reference_prefixes: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Where frames that are references (text/uri-list) may be fetched from, by whole path segments:
    file:///mnt/cams, https://images.example/live; several with commas between. Unset: from nowhere."""
    reference_timeout_ms: int = Field(default=5_000, ge=10)
    """Fetching one reference, all tries together, takes at most so long."""
    max_fetches_per_host: int = Field(default=8, ge=1, le=256)
    """References fetched from one host, or from files, at once; half of them for one partition."""
    reference_ca_file: str | None = None
    """PEM file of a private authority for https references, beside the system's own."""

    delivery: Literal["at-least-once", "exactly-once"] = "at-least-once"
    """at-least-once: after a failure an event may come again, with the same event id. exactly-once: a reader
    with isolation_level=read_committed sees each event once; all workers of a group alike."""
    transaction_interval_ms: int = Field(default=100, ge=10)
    """With exactly-once: how often a partition's events become visible."""
    transaction_timeout_ms: int = Field(default=10_000, ge=3_000)
    """With exactly-once: Kafka aborts a transaction that a silent worker left open for this long."""
    commit_interval_ms: int = Field(default=500, ge=50)
    """How often offsets are committed."""
    session_timeout_ms: int = Field(default=6_000, ge=3_000)
    """A silent worker's partitions move on after this."""
    heartbeat_interval_ms: int = Field(default=1_000, ge=100)
    """How often the worker says that it lives."""
    group_instance_id: str | None = Field(default=None, min_length=1)
    """Static membership: a restart within session_timeout_ms keeps its partitions, a stop leaves them idle
    for as long. Host name and process id are added: two processes must never share one. Made for containers
    whose host name stays (a StatefulSet's); a static worker that stood still past its session exits."""
    rebalance_timeout_ms: int = Field(default=6_000, ge=3_000)
    """How long a rebalance waits for this worker."""
    drain_timeout_ms: int = Field(default=4_000, ge=0)
    """How long calls under way may take to finish when partitions move or the worker stops."""
    max_poll_interval_ms: int = Field(default=300_000, ge=10_000)
    """The worker leaves its group when it has not polled for this long."""

    watchdog_timeout_ms: int = Field(default=60_000, ge=500)
    """/readyz turns 503 when frames wait and none was settled for so long; it says which stage holds them."""

    admin_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz."""
    admin_port: int = Field(default=9100, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz; 0: any free one, named in the log."""
    log_level: LogLevel = "info"
    """How much to log."""
    log_format: LogFormat = "text"
    """Logs as text or as JSON lines."""
    tracing: Tracing = "off"
    """otlp: spans of frames and calls go to an OpenTelemetry collector; needs riverlens[tracing]."""
    tracing_endpoint: TracingEndpoint = "http://127.0.0.1:4318"
    """The collector's OTLP/HTTP address."""
    tracing_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the frames without a traceparent that are traced; of the others, it says itself."""

    @property
    def policies(self) -> Freshness:
        """What `freshness` says, as a new object."""
        return Freshness(parse_rules(self.freshness))

    @property
    def filters(self) -> Filters:
        """What the filter settings say."""
        names = ("only_labels", "skip_labels", "min_box_area", "max_box_area", "only_zones", "max_detections")
        return Filters(
            min_scores=parse_scores(self.min_scores), **{name: getattr(self, name) for name in names}
        )

    @property
    def selection(self) -> Selection | None:
        """The filters and zones as a new object, None where there are none."""
        return Selection(self.filters, self.zones) if self.filters.asks or self.zones else None

    @property
    def most_read(self) -> int:
        """Detections to take from an answer: more than fit an event where filters leave some out."""
        return max(self.max_detections, MOST_READ) if self.filters.asks else self.max_detections

    @property
    def exactly_once(self) -> bool:
        """Whether events, dead letters and offsets go into transactions."""
        return self.delivery == "exactly-once"

    def facts(self, labels: Mapping[int, str] | None) -> ModelFacts:
        """What the settings say of the model; `labels` as the setting of that name was read."""
        size = self.input_size
        return ModelFacts(
            kind=self.output_kind,
            labels=labels or {},
            input_size=None if size is None else (size, size),
            colour=self.colour,
            range=None if self.input_range is None else parse_range(self.input_range),
            mean=None if self.input_mean is None else parse_channels(self.input_mean),
            std=None if self.input_std is None else parse_channels(self.input_std, divisors=True),
            resize=self.resize,
            boxes=self.boxes,
            scores=self.scores,
            nms_iou=self.nms_iou,
        )

    @field_validator("freshness", "min_scores")
    @classmethod
    def _are_rules(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        (parse_rules if info.field_name == "freshness" else parse_scores)(texts)
        return texts

    @field_validator("reference_prefixes")
    @classmethod
    def _are_prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        AllowList(prefixes)
        return prefixes

    @field_validator("server")
    @classmethod
    def _is_servers(cls, text: str) -> str:
        parse_servers(text)
        return text

    @field_validator("input_range")
    @classmethod
    def _is_range(cls, text: str | None) -> str | None:
        if text is not None:
            parse_range(text)
        return text

    @field_validator("input_mean", "input_std")
    @classmethod
    def _is_channels(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None:
            parse_channels(text, divisors=info.field_name == "input_std")
        return text

    def contradictions(self) -> list[str]:
        """What `contradictions` finds: times, topics, certificates and filters that do not fit together."""
        return list(contradictions(self))

    def unusable(self) -> list[str]:
        """Labels and certificates that cannot be read."""
        label_file = self.labels
        return complaints(
            self.kafka.client_options, *([] if label_file is None else [lambda: read_labels(label_file)])
        )
