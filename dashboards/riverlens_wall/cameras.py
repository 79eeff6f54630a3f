"""Each camera's newest frame and the event that belongs to it. Pure: time is a parameter.

A frame and its event meet by (partition, offset), whichever comes first. Events of one partition leave in
the order of its frames, so a frame that is passed over has none: it was dropped or became a dead letter.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from riverlens.drop import Drop
from riverlens.event import Event
from riverlens.frame import Frame
from riverlens_wall.looks import Look
from riverlens_wall.rates import Meter

RATE_S = 10
DROPS_S = 60
PATIENCE_S = 3.0
"""For so long a frame with its event is shown although newer frames, without one, are there."""
_EARLY_ANSWERS = 256
"""Events of one camera that wait for their frames: they come milliseconds apart."""


class Place(NamedTuple):
    """Where a frame lies on the frames topic."""

    partition: int
    offset: int


@dataclass(slots=True)
class HeldFrame:
    """A frame as the wall keeps it. `image` is None where it is not shown, or too large to keep."""

    place: Place
    image: bytes | None
    look: Look
    captured_at_ms: int
    sequence: int | None

    @property
    def nbytes(self) -> int:
        """Bytes it holds."""
        return len(self.image) if self.image is not None else 0


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
        without_event: frames passed over in the last minute: dropped, or dead letters.
    """

    key: int
    camera_id: str
    seen_s: float
    frames: Meter = field(default_factory=lambda: Meter(RATE_S))
    events: Meter = field(default_factory=lambda: Meter(RATE_S))
    dropped: Meter = field(default_factory=lambda: Meter(DROPS_S))
    without_event: Meter = field(default_factory=lambda: Meter(DROPS_S))
    newest: HeldFrame | None = None
    answered: Shown | None = None
    answered_s: float = 0.0
    last_event: Event | None = None
    waiting: deque[HeldFrame] = field(default_factory=deque)
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
        held = {id(frame): frame.nbytes for frame in self.waiting}
        for frame in (self.newest, self.answered.frame if self.answered else None):
            if frame is not None:
                held[id(frame)] = frame.nbytes
        return sum(held.values())


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
            camera.waiting.append(held)
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
            camera.dropped.add(now_s)
        else:
            camera.events.add(now_s)
            camera.last_event = answer
        held = next((frame for frame in camera.waiting if frame.place == place), None)
        if held is not None:
            camera.waiting.remove(held)
            if isinstance(answer, Event):
                self._join(camera, held, answer, now_s)
        elif not self._is_past(place):
            camera.answers[place] = answer
            if len(camera.answers) > _EARLY_ANSWERS:
                camera.answers.popitem(last=False)

    def reading_frames_again(self) -> None:
        """Frames are read from another place on: what waits for its counterpart waits in vain."""
        self._read_to.clear()
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
        camera.seen_s = now_s
        return camera

    def _join(self, camera: Camera, frame: HeldFrame, event: Event, now_s: float) -> None:
        camera.answered, camera.answered_s = Shown(frame, event), now_s
        # Older frames are of no use: a tile only goes forward.
        while camera.waiting and camera.waiting[0].captured_at_ms <= frame.captured_at_ms:
            camera.waiting.popleft()

    def _pass_over(self, place: Place, now_s: float, *, counted: bool) -> None:
        """Frames of this partition before `place` that still wait have no event, and wait no longer."""
        for camera in self:
            if any(_before(frame.place, place) for frame in camera.waiting):
                left = [frame for frame in camera.waiting if not _before(frame.place, place)]
                if counted:
                    camera.without_event.add(now_s, len(camera.waiting) - len(left))
                camera.waiting = deque(left)

    def _passed_over(self, place: Place) -> bool:
        """Whether the event of this frame would have been seen by now."""
        first = self._answered_from.get(place.partition)
        return first is not None and first <= place.offset < self._answered_to[place.partition]

    def _is_past(self, place: Place) -> bool:
        return place.offset <= self._read_to.get(place.partition, -1)

    def _trim(self, camera: Camera) -> None:
        """Keep to the share: frames that wait go first, the oldest first, then what is shown."""
        excess = camera.nbytes - self._share
        while excess > 0 and camera.waiting:
            gone = camera.waiting.popleft()
            excess -= 0 if gone is camera.newest else gone.nbytes
        if camera.nbytes <= self._share:
            return
        for frame in (camera.newest, camera.answered.frame if camera.answered else None):
            if frame is not None and frame.nbytes > self._share // 2:
                frame.look = Look("", frame.look.size, "too many cameras for its size; see memory_mib")
                frame.image = None


def _before(one: Place, other: Place) -> bool:
    return one.partition == other.partition and one.offset < other.offset
