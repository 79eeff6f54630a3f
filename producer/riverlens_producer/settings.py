"""The producer's settings: one frozen object, made once, checked once."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from riverlens.frame import MAX_FRAME_BYTES
from riverlens.frame_buffer import WhenFull
from riverlens.kafka import KafkaSettings
from riverlens.logs import LogFormat, LogLevel
from riverlens.settings import Settings, complaints
from riverlens.topic_spec import TopicName

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_MIN_PIXELS = 16


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` -> (640, 480), in pixels.

    Raises:
        ValueError: not WIDTHxHEIGHT, or a side below 16 pixels.
    """
    match = _SIZE.fullmatch(text)
    if match is None or min(map(int, match.groups())) < _MIN_PIXELS:
        raise ValueError(f"must be WIDTHxHEIGHT in pixels, each at least {_MIN_PIXELS}, as in 640x480")
    return int(match[1]), int(match[2])


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


def _checked_size(text: str) -> str:
    parse_size(text)
    return text


class ProducerSettings(Settings):
    """The producer: reads videos, image folders and synthetic cameras, and puts their frames on Kafka.

    Short forms: --duration for --duration-s, --max-speed for --fps 0, --topic for --frames-topic.
    Try:  riverlens producer run --synthetic --cameras 4
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
    """A video, an image or a folder of images, as PATH or CAMERA=PATH; may be given several times."""
    scenes: int = Field(default=32, ge=1, le=10_000)
    """Scenes drawn beforehand for each synthetic camera, then shown over and over."""
    size: Annotated[str, AfterValidator(_checked_size)] | None = None
    """WIDTHxHEIGHT of synthetic scenes (unset: 640x480); other pictures are scaled down to fit inside."""
    quality: int | None = Field(default=None, ge=1, le=100)
    """JPEG quality (unset: 80). Images that are files go out as they are unless this or the size is set."""

    fps: float | None = Field(default=None, ge=0, le=1000)
    """Frames a second of each camera, of a video at most its own; unset: its own, else 10; 0: no limit."""
    loop: bool = False
    """Start again where a file or folder ends."""
    duration_s: float | None = Field(default=None, gt=0)
    """Stop after so many seconds."""
    frames: int | None = Field(default=None, ge=1)
    """Stop each camera after so many frames."""

    when_full: Literal["auto", WhenFull] = "auto"
    """When Kafka is slow: wait, or drop; auto: drop_oldest for synthetic cameras in real time, else block."""
    buffer_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of frames that are not acknowledged yet, at most."""
    max_frame_bytes: int = Field(default=MAX_FRAME_BYTES, ge=1024)
    """Larger images are left out; the topic's max.message.bytes should agree."""
    drain_timeout_s: float = Field(default=15, ge=0)
    """How long stopping waits for Kafka to acknowledge what was sent."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads that decode, scale and encode pictures."""

    summary_json: Path | None = None
    """Write the summary as JSON to this file."""
    progress: Literal["auto", "live", "plain", "off"] = "auto"
    """live: a table that moves; plain: a line every few seconds; auto: live on a terminal, else plain."""
    log_level: LogLevel = "info"
    """Least level of log lines."""
    log_format: LogFormat = "text"
    """Log lines as text or as JSON."""

    def contradictions(self) -> list[str]:
        """Nothing to send, or cameras that nobody draws."""
        if not self.synthetic and not self.source:
            return ["source: nothing to send: give --source PATH, or --synthetic"]
        if not self.synthetic and self.cameras > 1:
            return ["--cameras counts synthetic cameras: give --synthetic too, or a --source each"]
        return []

    def unusable(self) -> list[str]:
        """Certificates that cannot be read."""
        return complaints(self.kafka.client_options)

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height in pixels, or None where unset."""
        return parse_size(self.size) if self.size else None
