"""The producer's settings: one frozen object, made once, checked once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_serializer
from pydantic_settings import NoDecode

from riverlens.frame import MAX_FRAME_BYTES
from riverlens.frame_buffer import WhenFull
from riverlens.kafka import KafkaSettings
from riverlens.logs import LogFormat, LogLevel
from riverlens.settings import Settings, complaints
from riverlens.topic_spec import TopicName
from riverlens.tracing import Tracing, TracingEndpoint
from riverlens_producer.address import complaint, read_address
from riverlens_producer.cameras import (
    Camera,
    Clock,
    RegionText,
    Size,
    Transport,
    from_flags,
    named,
    no_clash,
    read_cameras,
)
from riverlens_producer.view import parse_size


def _several(given: object) -> object:
    # Flags and the environment bring text; a path may hold commas, so a list is JSON and all else one path.
    if not isinstance(given, str):
        return given
    return json.loads(given) if given.startswith("[") else [given]


def gather_sources(argv: Sequence[str]) -> list[str]:
    """The arguments with all `--source PATH` as one, in the form the settings read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--source", action="append")
    known, rest = parser.parse_known_args(argv)
    return [*rest, f"--source={json.dumps(known.source)}"] if known.source else rest


class ProducerSettings(Settings):
    """The producer: reads cameras, videos, images and synthetic scenes, and puts their frames on Kafka.

    Short forms: --duration for --duration-s, --max-speed for --fps 0, --topic for --frames-topic.
    Try:  riverlens producer run --synthetic --cameras 4
          riverlens producer run --source lobby=rtsp://USER:PASSWORD@10.0.0.5/stream1 --fps 10
          riverlens producer run --cameras-file cameras.toml --admin-port 9101
          riverlens producer run --source lobby=clip.mp4 --source yard=photos/ --loop
    """

    table: ClassVar[str] = "producer"
    short_flags: ClassVar[Mapping[str, str]] = {
        **Settings.short_flags,
        "--duration": "--duration-s",
        "--max-speed": "--fps=0",
        "--topic": "--frames-topic",
    }

    kafka: KafkaSettings = KafkaSettings()
    """How to reach Kafka."""
    frames_topic: TopicName = "frames"
    """Topic to put the frames on."""

    synthetic: bool = False
    """Draw street scenes; their cameras are camera-1, camera-2, ..."""
    cameras: int = Field(default=1, ge=1, le=1000)
    """How many synthetic cameras."""
    source: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """An address, video, image, folder or device, as WHERE or CAMERA=WHERE; may be given several times."""
    cameras_file: Path | None = None
    """TOML file with a table [[camera]] for each camera; what it leaves out is as set here."""
    scenes: int = Field(default=32, ge=1, le=10_000)
    """Scenes drawn beforehand for each synthetic camera, then shown over and over."""
    size: Size | None = None
    """WIDTHxHEIGHT of synthetic scenes (unset: 640x480); other pictures are scaled down to fit inside."""
    quality: int | None = Field(default=None, ge=1, le=100)
    """JPEG quality (unset: 80). What is JPEG already goes out as it is unless this, size or region is set."""
    region: RegionText | None = None
    """Send only this part: X1,Y1,X2,Y2 in parts of the picture, or WIDTHxHEIGHT+LEFT+TOP in pixels."""

    fps: float | None = Field(default=None, ge=0, le=1000)
    """Frames a second of each camera at most; unset: its own, of images 10, of snapshots 1; 0: no limit."""
    loop: bool = False
    """Start again where a file or folder ends."""
    duration_s: float | None = Field(default=None, gt=0)
    """Stop after so many seconds."""
    frames: int | None = Field(default=None, ge=1)
    """Stop each camera after so many frames."""

    transport: Transport = "tcp"
    """How RTSP brings the pictures."""
    connect_s: float = Field(default=10, gt=0, le=300)
    """Longest wait for the first frame of a connection to a camera."""
    stall_s: float = Field(default=5, gt=0, le=300)
    """Longest wait for a camera's next frame before it is connected anew."""
    reconnect_max_s: float = Field(default=3, gt=0, le=3600)
    """Longest wait between two tries to connect a camera."""
    clock: Clock = "camera"
    """Capture time of live frames: the camera's, where it tells one within 10 s of ours, or arrival."""

    when_full: Literal["auto", WhenFull] = "auto"
    """When Kafka is slow: wait, or drop; auto: drop_oldest for what is live, else block."""
    buffer_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of frames that are not acknowledged yet, at most."""
    max_frame_bytes: int = Field(default=MAX_FRAME_BYTES, ge=1024)
    """Larger images are left out; the topic's max.message.bytes should agree."""
    drain_timeout_s: float = Field(default=15, ge=0)
    """How long stopping waits for Kafka to acknowledge what was sent."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads that decode, scale and encode pictures."""

    admin_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz."""
    admin_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz; 0: any free one, named in the log; unset: none."""
    summary_json: Path | None = None
    """Write the summary as JSON to this file."""
    progress: Literal["auto", "live", "plain", "off"] = "auto"
    """live: a table that moves; plain: a line every few seconds; auto: live on a terminal, else plain."""
    log_level: LogLevel = "info"
    """Least level of log lines."""
    log_format: LogFormat = "text"
    """Log lines as text or as JSON."""
    tracing: Tracing = "off"
    """otlp: each frame begins a trace, spans go to an OpenTelemetry collector; needs riverlens[tracing]."""
    tracing_endpoint: TracingEndpoint = "http://127.0.0.1:4318"
    """The collector's OTLP/HTTP address."""
    tracing_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of the frames that are traced, here and in all that follow."""

    def contradictions(self) -> list[str]:
        """Nothing to send, or cameras that nobody draws."""
        sources = self.source or self.cameras_file
        if not self.synthetic and not sources:
            return ["source: nothing to send: give --source WHERE, --cameras-file FILE or --synthetic"]
        if not self.synthetic and self.cameras > 1:
            return ["--cameras counts synthetic cameras: give --synthetic too, or a --source each"]
        return []

    def unusable(self) -> list[str]:
        """Certificates that cannot be read."""
        return complaints(self.kafka.client_options)

    def listed_cameras(self) -> list[Camera]:
        """The cameras of every `source` and of the `cameras_file`.

        Raises:
            SettingsError: the file is wrong, or two cameras have one id.
        """
        shared = set(Camera.model_fields) & set(type(self).model_fields)
        common: dict[str, Any] = {name: getattr(self, name) for name in shared}
        listed = from_flags(self.source, common)
        if self.cameras_file is not None:
            listed += read_cameras(self.cameras_file, common)
        no_clash(listed)
        return listed

    @field_serializer("source", when_used="json")
    def _without_secrets(self, sources: tuple[str, ...]) -> list[str]:
        # What --print-config prints is shown around.
        return [_masked(text) for text in sources]

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height in pixels, or None where unset."""
        return parse_size(self.size) if self.size else None


def _masked(source: str) -> str:
    camera_id, where = named(source)
    address = read_address(where)
    if address is None:
        return source if complaint(where) is None else "..."
    return f"{camera_id}={address.shown}" if camera_id else address.shown
