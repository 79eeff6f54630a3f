"""The server's settings as frozen value objects. Light: importing this loads no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.versions import Latest, Policy


@dataclass(frozen=True, slots=True)
class Model:
    """One model to serve: its name, the folder that holds its numbered versions, which of them to load."""

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)
    """Label -> version: further names that requests may use for a version."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to look at base paths and how often to try a load that fails."""

    poll_s: float = 1.0
    """Time between looks; 0: look once; negative: never look (nothing is ever loaded)."""
    max_retries: int = 5
    retry_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How sessions are set up: thread counts (0: TensorFlow decides), device memory, SavedModel tags."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    """Share of each GPU's memory taken at once; 0: grow as needed."""
    tags: tuple[str, ...] = ("serve",)
    session_config: Path | None = None
    """`--tensorflow_session_config_file`: a ConfigProto text; the numbers above win over it."""
    warmup_iterations: int = 1
    """How often each request of a version's warm-up file runs before the version answers; 0: not at all."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Server-wide switches of Predict."""

    check_method_name: bool = False
    """`--enable_signature_method_name_check`."""
    reply_as_content: bool = False
    """`--enable_serialization_as_tensor_content`."""


def default_threads() -> int:
    """TensorFlow Serving's number of requests worked on at once: 4 for each CPU."""
    return 4 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Tls:
    """What the gRPC port proves and asks for. PEM contents."""

    key: bytes = field(repr=False)
    certificate: bytes
    client_ca: bytes | None = None
    """Signs the clients' certificates; without it no client is asked for one."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the gRPC port opens. `port` None: a free one, chosen by the system."""

    address: str = "127.0.0.1"
    port: int | None = 8500
    port_file: Path | None = None
    """Gets the port's number, whole or not at all, once calls are answered."""
    max_threads: int = field(default_factory=default_threads)
    """Calls answered at once; one more is refused with RESOURCE_EXHAUSTED."""
    socket_path: Path | None = None
    """A Unix socket that answers as the port does."""
    channel_options: tuple[tuple[str, int | str], ...] = ()
    """gRPC's own channel arguments."""
    tls: Tls | None = None
    health: bool = False
    """Serve gRPC's health service."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Where the HTTP port opens, on the address of the gRPC port. `port` None: a free one."""

    port: int | None = 8501
    max_threads: int = field(default_factory=default_threads)
    """Requests answered at once; further ones wait."""
    timeout_ms: int = 30_000
    """For one run of the model; 0 or less: none."""
    cors: bool = False
    metrics_path: str | None = None
    """Where Prometheus finds the metrics; None: nowhere."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Everything that one run of the server is told."""

    models: tuple[Model, ...]
    listen: Listen = field(default_factory=Listen)
    patience: Patience = field(default_factory=Patience)
    load: LoadOptions = field(default_factory=LoadOptions)
    batching: BatchingParameters | None = None
    """None: every request is a run of its own."""
    predict: PredictOptions = field(default_factory=PredictOptions)
    drain_s: float = 10.0
    """After SIGTERM, how long calls in flight may take to finish."""
    die_with_parent: bool = False
    rest: Rest | None = None
    """None: no HTTP port."""
    config_file: Path | None = None
    """Where `models` came from; None: from flags."""
    config_poll_s: float = 0.0
    """Time between looks at `config_file`; 0: read once."""
    labels_for_unavailable: bool = False
    """A new label may point at a version that does not answer yet."""
