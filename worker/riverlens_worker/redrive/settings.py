"""Which dead letters to put back, as a person says it."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from riverlens.dead_letter import Reason
from riverlens.frame import MAX_FRAME_BYTES
from riverlens.kafka import KafkaSettings
from riverlens.logs import LogFormat, LogLevel
from riverlens.settings import Settings, complaints
from riverlens.times import from_rfc3339
from riverlens.topic_spec import TopicName
from riverlens_worker.redrive.selection import ALL_OFFSETS, Wish

_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_OFFSETS = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def _several(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)]


class RedriveSettings(Settings):
    """Put dead letters back onto the frames topic, those asked for: without flags, all.

    A dead letter stays where it is, and what was put back is remembered in the consumer group
    <group_id>-redrive: a second run puts back what the first one did not. (Kafka forgets a group's offsets
    7 days after the last run, by its offsets.retention.minutes.) A frame goes back at most three times.
    Topics and group are those of [worker]. Exit code 1: Kafka did not take some of the frames.
    Try:  riverlens worker redrive --dry-run
          riverlens worker redrive --reason model_rejected --since 2h --camera 'gate-*'
    """

    table: ClassVar[str] = "worker"
    # The table holds the worker's other settings, which the worker checks.
    model_config = SettingsConfigDict(extra="ignore")

    kafka: KafkaSettings = KafkaSettings()
    """How to reach Kafka."""
    frames_topic: TopicName = "frames"
    """Topic to put frames back onto; dead letters of frames from other topics stay."""
    dlq_topic: TopicName = "frames.dlq"
    """Topic of the dead letters."""
    group_id: str = Field(default="riverlens", min_length=1)
    """Consumer group of the workers."""
    max_frame_bytes: int = Field(default=MAX_FRAME_BYTES, ge=1024)
    """Largest frame that the frames topic takes."""

    reason: Several = ()
    """Only dead letters of this reason; several with commas between."""
    since: str | None = None
    """Only what was set aside from then on: 2026-11-21T08:00:00Z, or so long ago: 90s, 15m, 2h, 1d."""
    until: str | None = None
    """Only what was set aside before then, likewise."""
    camera: Several = ()
    """Only frames of this camera; * and ? stand for any text, any character; several with commas between."""
    partition: int | None = Field(default=None, ge=0)
    """Only frames of this partition."""
    offset: str | None = None
    """Only the frame at this offset of that partition, or those from the first to the last: 17, 100-250."""
    limit: int | None = Field(default=None, ge=1)
    """Put back at most so many, partition by partition, the oldest first."""
    dry_run: bool = False
    """Show what would be put back, and put nothing back."""
    again: bool = False
    """Also what was put back before."""

    log_level: LogLevel = "info"
    """How much to log."""
    log_format: LogFormat = "text"
    """Logs as text or as JSON lines."""

    @property
    def memory_group(self) -> str:
        """The consumer group that remembers what was put back."""
        return f"{self.group_id}-redrive"

    def wish(self, now_ms: int) -> Wish:
        """What is asked for; times that are so long ago count from `now_ms`."""
        first, last = ALL_OFFSETS if self.offset is None else parse_offsets(self.offset)
        return Wish(
            topic=self.frames_topic,
            reasons=frozenset(self.reason),
            since_ms=None if self.since is None else parse_instant(self.since, now_ms),
            until_ms=None if self.until is None else parse_instant(self.until, now_ms),
            cameras=self.camera,
            partition=self.partition,
            first_offset=first,
            last_offset=last,
            again=self.again,
        )

    @field_validator("reason")
    @classmethod
    def _are_reasons(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        for reason in reasons:
            if reason not in set(Reason):
                raise ValueError(f"no reason {reason!r}; there are {', '.join(Reason)}")
        return reasons

    @field_validator("since", "until")
    @classmethod
    def _is_instant(cls, text: str | None) -> str | None:
        if text is not None:
            parse_instant(text, 0)
        return text

    @field_validator("offset")
    @classmethod
    def _is_offset(cls, text: str | None) -> str | None:
        if text is not None:
            parse_offsets(text)
        return text

    def contradictions(self) -> list[str]:
        """Offsets of no partition, a time range that ends before it begins, one topic for two things."""
        wrong = []
        if self.offset is not None and self.partition is None:
            wrong.append("offset needs partition: every partition has an offset of that number")
        if self.frames_topic == self.dlq_topic:
            wrong.append("frames_topic and dlq_topic must be two different topics")
        far_ms = 10**15  # as now: later than any instant, so that times ago stay in their order
        if self.since is not None and self.until is not None:
            relative = [_AGO.fullmatch(text) is not None for text in (self.since, self.until)]
            since_ms, until_ms = parse_instant(self.since, far_ms), parse_instant(self.until, far_ms)
            if relative[0] == relative[1] and since_ms >= until_ms:
                wrong.append(f"since ({self.since}) must be before until ({self.until})")
        return wrong

    def unusable(self) -> list[str]:
        """Certificates that cannot be read."""
        return complaints(self.kafka.client_options)


def parse_instant(text: str, now_ms: int) -> int:
    """Epoch milliseconds of `2026-11-21T08:00:00Z`, or of `15m` before `now_ms`.

    Raises:
        ValueError: neither of them.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago.group(1)) * _UNIT_MS[ago.group(2)]
    instant_ms = from_rfc3339(text)
    if instant_ms is None:
        raise ValueError("neither an RFC 3339 time with its zone (2026-11-21T08:00:00Z) nor 90s, 15m, 2h, 1d")
    return instant_ms


def parse_offsets(text: str) -> tuple[int, int]:
    """First and last offset of `17` or `100-250`.

    Raises:
        ValueError: neither of them.
    """
    found = _OFFSETS.fullmatch(text)
    if found is None:
        raise ValueError("neither an offset (17) nor a range of them (100-250)")
    first = int(found.group(1))
    last = first if found.group(2) is None else int(found.group(2))
    if last < first:
        raise ValueError(f"the range ends ({last}) before it begins ({first})")
    return first, last
