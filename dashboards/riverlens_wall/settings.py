"""The wall's settings: one frozen object, made once, checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from riverlens.kafka import KafkaSettings
from riverlens.logs import LogFormat, LogLevel
from riverlens.settings import Settings, complaints
from riverlens.topic_spec import TopicName

EVERY_ADDRESS = "dns:///"
"""Before a name: every address of it, as in the worker's `server`."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def _several(value: Any) -> Any:
    """Text with commas between, as flags and the environment give it; a list as the TOML file does."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def as_http(url: str) -> SplitResult:
    """The parts of a metrics URL, of `dns:///name:port/path` as of http://name:port/path."""
    every = url.startswith(EVERY_ADDRESS)
    return urlsplit(f"http://{url.removeprefix(EVERY_ADDRESS)}" if every else url)


class WallSettings(Settings):
    """The wall: a live web page of every camera, its detections, and what each stage waits for.

    It reads frames and events beside the workers: no consumer group, nothing committed, nothing written.
    Short forms: --host for --wall-host, --port for --wall-port.
    Try:  riverlens wall --metrics-url http://127.0.0.1:9100/metrics
          then open http://127.0.0.1:8090
    """

    table: ClassVar[str] = "wall"
    short_flags: ClassVar[Mapping[str, str]] = {
        **Settings.short_flags,
        "--host": "--wall-host",
        "--port": "--wall-port",
    }

    kafka: KafkaSettings = KafkaSettings()
    """How to reach Kafka."""
    frames_topic: TopicName = "frames"
    """Topic to read frames from; only while somebody watches."""
    events_topic: TopicName = "detections"
    """Topic to read events from."""
    metrics_url: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """The workers' /metrics, several separated by commas, or dns:///name:port/metrics for every address of a
    name; unset: the pipeline's figures stay grey."""

    wall_host: str = "127.0.0.1"
    """Address to listen on. The page asks for no password: beyond loopback, put a login before it."""
    wall_port: int = Field(default=8090, ge=0, le=65535)
    """Port to listen on; 0: any that is free."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)] = ()
    """Names besides localhost and addresses under which browsers may open the page, separated by commas."""
    max_viewers: int = Field(default=16, ge=1, le=1000)
    """Browsers at a time, at most."""

    max_cameras: int = Field(default=64, ge=1, le=256)
    """Cameras on the wall, at most; further ones are counted only."""
    forget_minutes: float = Field(default=10, gt=0)
    """A camera that is silent for so long leaves the wall."""
    images_per_second: float = Field(default=4, gt=0, le=15)
    """Pictures a second of each tile, at most; frames and events are all counted nevertheless."""
    timeline_minutes: float = Field(default=5, ge=1, le=120)
    """How far the timeline of detections reaches back."""
    memory_mib: int = Field(default=256, ge=16)
    """Frames held for their events, all cameras together, in MiB, at most."""

    log_level: LogLevel = "info"
    """Least severe log line to print."""
    log_format: LogFormat = "text"
    """Log lines as text or as JSON."""

    @field_validator("metrics_url")
    @classmethod
    def _are_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            every, parts = url.startswith(EVERY_ADDRESS), as_http(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or (every and not parts.port):
                raise ValueError(f"{url!r} is no URL such as http://127.0.0.1:9100/metrics")
        return urls

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST.fullmatch(name):
                raise ValueError(f"{name!r} is no host name such as wall.example.com (no scheme, no port)")
        return tuple(name.lower() for name in names)

    def contradictions(self) -> list[str]:
        """One topic twice, or an address that cannot be shown."""
        lines = []
        if self.frames_topic == self.events_topic:
            lines.append("frames_topic and events_topic must be two different topics")
        # Told here, not by the field: a field's complaint repeats what was given.
        if any(as_http(url).password for url in self.metrics_url):
            lines.append(
                "metrics_url: a password in a URL would be shown on the page and in logs; leave it out"
            )
        return lines

    def unusable(self) -> list[str]:
        """Certificates that cannot be read."""
        return complaints(self.kafka.client_options)
