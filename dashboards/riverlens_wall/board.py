"""All that the wall knows, fed with Kafka's records, and the status that browsers get of it. Pure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from riverlens.event import Event, read_event
from riverlens.frame import read_frame
from riverlens_wall import pipeline
from riverlens_wall.cameras import RATE_S, Camera, Cameras
from riverlens_wall.kept import KeptEvents
from riverlens_wall.looks import look_at
from riverlens_wall.pipeline import Lately, Seen
from riverlens_wall.rates import Meter
from riverlens_wall.readings import Reading
from riverlens_wall.settings import WallSettings
from riverlens_wall.timeline import Timeline, labels_of
from riverlens_wall.waiting import Place

logger = logging.getLogger(__name__)

_KEPT_BYTES = 32 * 1024 * 1024
_SHOWN_LABELS = 10
_SILENT_S = 4.0
_SILENT_GAPS = 4.0


class Board:
    """Owned by the event loop: readers put records in, viewers and the painter read.

    Attributes:
        events: values of the last events, for whoever opens one.
        foreign: a frames topic that events name and the wall does not read, or None.
        unreadable: events that could not be read.
    """

    def __init__(self, settings: WallSettings) -> None:
        self.cameras = Cameras(settings.max_cameras, settings.memory_mib * 1024 * 1024)
        self.events = KeptEvents(_KEPT_BYTES)
        self.foreign: str | None = None
        self.unreadable = 0
        self._settings = settings
        self._timeline = Timeline(settings.timeline_minutes * 60)
        self._latency_ms = Meter(RATE_S)
        self._frames = Meter(RATE_S)
        self._first_frame_s: float | None = None
        self._events = Meter(RATE_S)

    def take_frames(self, records: Sequence[Any], now_s: float) -> None:
        """Frames as Kafka gave them."""
        if records and self._first_frame_s is None:
            self._first_frame_s = now_s
        for record in records:
            frame = read_frame(record)
            self._frames.add(now_s)
            look = look_at(frame.image, frame.content_type)
            self.cameras.add_frame(frame, Place(record.partition, record.offset), look, now_s)

    def take_events(self, records: Sequence[Any], now_s: float) -> None:
        """Events and drops as Kafka gave them; others are counted and left out."""
        for record in records:
            try:
                answer = read_event(record.value or b"", record.headers)
            except ValueError as error:
                self.unreadable += 1
                logger.debug("an event could not be read: %s", error)
                continue
            origin = answer.origin
            if origin.topic != self._settings.frames_topic:
                self.foreign = origin.topic
                continue
            self.cameras.add_answer(answer, now_s)
            self.events.add(Place(origin.partition, origin.offset), record.value)
            if isinstance(answer, Event):
                self._events.add(now_s)
                self._latency_ms.add(now_s, max(0, record.timestamp - answer.captured_at_ms))
                self._timeline.add(answer.camera_id, labels_of(answer), now_s)

    def frames_began(self) -> None:
        """Frames are read from the end on, anew."""
        self._begin(come=True)

    def frames_ended(self) -> None:
        """Frames are read no more; none is held."""
        self._begin(come=False)

    def _begin(self, *, come: bool) -> None:
        self.cameras.reading_frames_again(come=come)
        self._frames = Meter(RATE_S)
        self._first_frame_s = None

    def events_began(self) -> None:
        """Events are read from the end on, anew."""
        self.cameras.reading_events_again()

    def forget(self, now_s: float) -> None:
        """Let cameras go that were silent for longer than the setting says."""
        self.cameras.forget(now_s - 60 * self._settings.forget_minutes)

    def status(
        self,
        now_s: float,
        now_ms: int,
        *,
        reading_frames: bool,
        kafka_away: str,
        metrics: tuple[Reading | None, Lately | None, str],
    ) -> dict[str, Any]:
        """What every browser is told each second. `metrics`: reading, change, and why it is not known."""
        reading, late, metrics_away = metrics
        silent = [camera.camera_id for camera in self.cameras if _is_silent(camera, now_s)]
        seen = Seen(
            cameras=len(self.cameras) + self.cameras.others,
            silent=silent,
            frames_per_s=self._frames.per_second(now_s) if reading_frames else None,
            events_per_s=self._events.per_second(now_s),
            latency_ms=self._latency_ms.mean(now_s),
            frames_for_s=None if self._first_frame_s is None else now_s - self._first_frame_s,
            kafka_away=kafka_away,
            metrics_away=metrics_away,
        )
        level, sentence = pipeline.verdict(seen, reading, late)
        return {
            "type": "status",
            "kafka_away": kafka_away,
            "cameras": [self._tile(camera, now_s, now_ms, reading, late) for camera in self.cameras],
            "only_changes": late is not None and late.unchanged,
            "others": self.cameras.others,
            "notes": self._notes(),
            "verdict": {"level": level, "text": sentence},
            "stages": [stage._asdict() for stage in pipeline.stages(seen, reading, late)],
            "timeline": {
                "minutes": self._settings.timeline_minutes,
                "rows": [row._asdict() for row in self._timeline.rows(now_s, _SHOWN_LABELS)],
            },
        }

    def _tile(
        self, camera: Camera, now_s: float, now_ms: int, reading: Reading | None, late: Lately | None
    ) -> dict[str, Any]:
        newest = camera.newest.captured_at_ms if camera.newest else None
        if newest is None and camera.last_event is not None:
            newest = camera.last_event.captured_at_ms
        # Where only changes are events, a frame without one was answered.
        missed = 0 if late is not None and late.unchanged else camera.without_event.total(now_s)
        return {
            "key": camera.key,
            "id": camera.camera_id,
            "silent": _is_silent(camera, now_s),
            "quiet_s": round(now_s - camera.seen_s, 1),
            "fps": round(camera.frames.per_second(now_s), 1),
            "events_per_s": round(camera.events.per_second(now_s), 1),
            "age_ms": None if newest is None else now_ms - newest,
            "dropped": round(max(camera.dropped.total(now_s), missed)),
            "in_view": dict(labels_of(camera.last_event)) if camera.last_event else {},
        } | ({"dropped_ever": int(reading.camera_drops[camera.camera_id])} if reading else {})

    def _notes(self) -> list[str]:
        notes = []
        if self.foreign is not None:
            notes.append(
                f"Some events are of frames on the topic {self.foreign}; this wall shows "
                f"{self._settings.frames_topic} (--frames-topic)."
            )
        if self.unreadable:
            notes.append(
                f"{self.unreadable} records on {self._settings.events_topic} are no riverlens events."
            )
        return notes


def _is_silent(camera: Camera, now_s: float) -> bool:
    """Whether it sends nothing: for several times as long as it usually does, and some seconds."""
    return now_s - camera.seen_s > max(_SILENT_S, _SILENT_GAPS * camera.gap_s)
