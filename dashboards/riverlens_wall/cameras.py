"""Each camera's newest frame and the event that belongs to it. Pure: time is a parameter.

A frame and its event meet by (partition, offset), whichever comes first. Events of one partition leave in
the order of its frames, so a frame that is passed over has none: it was dropped or became a dead letter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from riverlens.drop import Drop
from riverlens.event import Event
from riverlens.frame import Frame
from riverlens_wall.looks import Look
from riverlens_wall.rates import Meter
from riverlens_wall.waiting import HeldFrame, Place, Waiting

RATE_S = 10
DROPS_S = 60
PATIENCE_S = 3.0
"""For so long a frame with its event is shown although newer frames, without one, are there."""
_EARLY_ANSWERS = 256
"""Events of one camera that wait for their frames: they come milliseconds apart."""


class Shown(NamedTuple):
    """What a tile shows: a frame, and its event where it has one."""

    frame: HeldFrame
    event: Event | None


@dataclass(slots=True)
class Camera:
    """One camera. Owned by Cameras; read by all.

    Attributes:
        key: its number on the wall, from 0, never used again.
        seen_s: when a frame or an event of it last came.
        gap_s: for how long it usually says nothing: at least the last pause, and half of the longest before.
        without_event: frames passed over in the last minute: dropped, or dead letters.
    """

    key: int
    camera_id: str
    seen_s: float
    gap_s: float = 0.0
    frames: Meter = field(default_factory=lambda: Meter(RATE_S))
    events: Meter = field(default_factory=lambda: Meter(RATE_S))
    dropped: Meter = field(default_factory=lambda: Meter(DROPS_S))
    without_event: Meter = field(default_factory=lambda: Meter(DROPS_S))
    newest: HeldFrame | None = None
    answered: Shown | None = None
    answered_s: float = 0.0
    last_event: Event | None = None
    waiting: Waiting = field(default_factory=Waiting)
    answers: OrderedDict[Place, Event | Drop] = field(default_factory=OrderedDict)

    def to_show(self, now_s: float) -> Shown | None:
        """The newest frame with its event while such frames keep coming, else the newest frame."""
        if self.newest is None:
            return None
        answered = self.answered
        if answered is None:
            return Shown(self.newest, None)
        fresh = answered.frame.place == self.newest.place or now_s - self.answered_s <= PATIENCE_S
        return answered if fresh else Shown(self.newest, None)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames that it holds; one held twice counts once."""
        shown = {id(frame): frame.nbytes for frame in self.shown if not frame.waits}
        return self.waiting.nbytes + sum(shown.values())

    @property
    def shown(self) -> list[HeldFrame]:
        """The frames that a tile may show: the newest, and the last one with an event."""
        answered = self.answered.frame if self.answered else None
        return [frame for frame in (self.newest, answered) if frame is not None]


class Cameras:
    """All cameras of the wall; frames, events and drops are put in, tiles are read out.

    Args:
        max_cameras: further cameras are counted only.
        max_bytes: frames held, all together; each camera has an equal share.
    """

    def __init__(self, max_cameras: int, max_bytes: int) -> None:
        self._max_cameras = max_cameras
        self._max_bytes = max_bytes
        self._cameras: dict[str, Camera] = {}
        self._by_key: dict[int, Camera] = {}
        self._others: dict[str, float] = {}
        self._next_key = 0
        self._frames_come = False
        self._read_to: dict[int, int] = {}
        self._answered_from: dict[int, int] = {}
        self._answered_to: dict[int, int] = {}

    def __iter__(self) -> Iterator[Camera]:
        """All cameras, those seen first first."""
        return iter(self._cameras.values())

    def __len__(self) -> int:
        return len(self._cameras)

    @property
    def others(self) -> int:
        """Cameras beyond `max_cameras`."""
        return len(self._others)

    @property
    def nbytes(self) -> int:
        """Bytes of frames held now."""
        return sum(camera.nbytes for camera in self)

    def by_key(self, key: int) -> Camera | None:
        """The camera of this number, or None where it has left."""
        return self._by_key.get(key)

    def add_frame(self, frame: Frame, place: Place, look: Look, now_s: float) -> None:
        """A frame was read. Frames of one partition come in the order of their offsets."""
        self._read_to[place.partition] = place.offset
        camera = self._camera(frame.camera_id, now_s)
        if camera is None:
            return
        camera.frames.add(now_s)
        image = frame.image if look.mime else None
        if image is not None and len(image) > self._share // 2:
            look = Look(
                "", look.size, f"a frame of {len(image) // 1024} KiB: more than memory_mib allows here"
            )
            image = None
        held = HeldFrame(place, image, look, frame.captured_at_ms, frame.sequence)
        camera.newest = held
        answer = camera.answers.pop(place, None)
        # Frames of a partition are read in order: what answers earlier ones will meet none any more.
        while camera.answers and self._is_past(next(iter(camera.answers))):
            camera.answers.popitem(last=False)
        if isinstance(answer, Event):
            self._join(camera, held, answer, now_s)
        elif answer is None and self._passed_over(place):
            camera.without_event.add(now_s)
        elif answer is None:
            camera.waiting.add(held)
        self._trim(camera)

    def add_answer(self, answer: Event | Drop, now_s: float) -> None:
        """An event or a drop was read, in the order of its partition. A repeat changes nothing."""
        place = Place(answer.origin.partition, answer.origin.offset)
        if place.offset <= self._answered_to.get(place.partition, -1):
            return
        # The first answer says nothing of the frames before: their events may lie before our beginning.
        counted = place.partition in self._answered_from
        self._answered_from.setdefault(place.partition, place.offset)
        self._answered_to[place.partition] = place.offset
        camera = self._camera(answer.camera_id, now_s)
        self._pass_over(place, now_s, counted=counted)
        if camera is None:
            return
        if isinstance(answer, Drop):
            if answer.reason != "unchanged":
                camera.dropped.add(now_s)
        else:
            camera.events.add(now_s)
            camera.last_event = answer
        held = camera.waiting.meet(place)
        if held is not None:
            if isinstance(answer, Event):
                self._join(camera, held, answer, now_s)
        elif self._frames_come and not self._is_past(place):
            camera.answers[place] = answer
            if len(camera.answers) > _EARLY_ANSWERS:
                camera.answers.popitem(last=False)

    def reading_frames_again(self, *, come: bool = True) -> None:
        """Frames are read from another place on, or no more: what waits for its counterpart waits in vain.

        Args:
            come: False where no frames are read from now on, so that events wait for none.
        """
        self._frames_come = come
        self._read_to.clear()
        # The topic may have been made anew: its offsets then begin at 0 again.
        self.reading_events_again()
        for camera in self:
            camera.waiting.clear()
            camera.answers.clear()
            camera.newest = camera.answered = None
            camera.frames = Meter(RATE_S)

    def reading_events_again(self) -> None:
        """Events are read from another place on: between, some were not seen."""
        self._answered_from.clear()
        self._answered_to.clear()

    def forget(self, before_s: float) -> None:
        """Cameras that were last seen before `before_s` leave."""
        for camera in [camera for camera in self if camera.seen_s < before_s]:
            del self._cameras[camera.camera_id], self._by_key[camera.key]
        self._others = {name: at_s for name, at_s in self._others.items() if at_s >= before_s}

    @property
    def _share(self) -> int:
        return self._max_bytes // max(1, len(self._cameras))

    def _camera(self, camera_id: str, now_s: float) -> Camera | None:
        camera = self._cameras.get(camera_id)
        if camera is None:
            if len(self._cameras) >= self._max_cameras:
                # Bounded too: names come from outside.
                if camera_id in self._others or len(self._others) < 10 * self._max_cameras:
                    self._others[camera_id] = now_s
                return None
            self._others.pop(camera_id, None)
            camera = Camera(self._next_key, camera_id, now_s)
            self._cameras[camera_id] = self._by_key[camera.key] = camera
            self._next_key += 1
            for each in self:
                self._trim(each)
        camera.gap_s = max(now_s - camera.seen_s, camera.gap_s / 2)
        camera.seen_s = now_s
        return camera

    def _join(self, camera: Camera, frame: HeldFrame, event: Event, now_s: float) -> None:
        camera.answered, camera.answered_s = Shown(frame, event), now_s
        # Older frames are of no use: a tile only goes forward.
        camera.waiting.drop_until(frame.captured_at_ms)

    def _pass_over(self, place: Place, now_s: float, *, counted: bool) -> None:
        """Frames of this partition before `place` that still wait have no event, and wait no longer."""
        for camera in self:
            passed = camera.waiting.pass_over(place)
            if passed and counted:
                camera.without_event.add(now_s, passed)

    def _passed_over(self, place: Place) -> bool:
        """Whether the event of this frame would have been seen by now."""
        first = self._answered_from.get(place.partition)
        return first is not None and first <= place.offset < self._answered_to[place.partition]

    def _is_past(self, place: Place) -> bool:
        return place.offset <= self._read_to.get(place.partition, -1)

    def _trim(self, camera: Camera) -> None:
        """Keep to the share: frames that wait go first, the oldest first, then what is shown."""
        while camera.nbytes > self._share and camera.waiting:
            camera.waiting.drop_oldest()
        if camera.nbytes <= self._share:
            return
        for frame in camera.shown:
            if frame.nbytes > self._share // 2:
                frame.look = Look("", frame.look.size, "too many cameras for its size; see memory_mib")
                frame.image = None
