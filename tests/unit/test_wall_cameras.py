"""The wall's cameras: a frame meets its event whichever comes first, and memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.dead_letter import Origin
from riverlens.drop import Drop
from riverlens.event import Detection, Event, Model
from riverlens.frame import Frame
from riverlens_wall import waiting
from riverlens_wall.cameras import PATIENCE_S, Camera, Cameras
from riverlens_wall.looks import Look
from riverlens_wall.waiting import Place

SHOWN = Look("image/jpeg", (640, 480))
MIB = 1024 * 1024


def _frame(camera: str = "lobby", nbytes: int = 100, at_ms: int = 0) -> Frame:
    return Frame(camera, bytes(nbytes), at_ms)


def _event(offset: int, camera: str = "lobby", partition: int = 0) -> Event:
    return Event(
        origin=Origin("frames", partition, offset),
        camera_id=camera,
        frame_id=None,
        sequence=None,
        captured_at_ms=offset,
        image_size=(640, 480),
        model=Model("street", 1, "serving_default"),
        timing_ms={},
        batch_size=1,
        batch_reason="full",
        detections=[Detection("person", 1, 0.9, (0.0, 0.0, 0.5, 0.5))],
    )


def _drop(offset: int, reason: str = "stale") -> Drop:
    return Drop(Origin("frames", 0, offset), "lobby", None, None, offset, reason, 1.0)


def _cameras(most: int = 64, nbytes: int = 64 * MIB) -> Cameras:
    cameras = Cameras(most, nbytes)
    cameras.reading_frames_again()
    return cameras


def _put(cameras: Cameras, offset: int, now_s: float, *, camera: str = "lobby", nbytes: int = 100) -> None:
    cameras.add_frame(_frame(camera, nbytes, offset), Place(0, offset), SHOWN, now_s)


def _only(cameras: Cameras) -> Camera:
    (camera,) = cameras
    return camera


def _shown(cameras: Cameras, now_s: float) -> tuple[int, bool]:
    shown = _only(cameras).to_show(now_s)
    assert shown is not None
    return shown.frame.place.offset, shown.event is not None


@pytest.mark.parametrize("event_first", [False, True])
def test_a_frame_meets_its_event_in_either_order(*, event_first: bool) -> None:
    """Frames and events are read by two consumers: neither waits for the other."""
    cameras = _cameras()
    if event_first:
        cameras.add_answer(_event(0), 1.0)
    _put(cameras, 0, 1.0)
    if not event_first:
        cameras.add_answer(_event(0), 1.0)
    assert _shown(cameras, 1.0) == (0, True)


def test_a_frame_with_its_event_is_shown_although_newer_ones_wait() -> None:
    """Boxes are what the wall is for: it shows newer frames without them only when events stay away."""
    cameras = _cameras()
    _put(cameras, 0, 1.0)
    cameras.add_answer(_event(0), 1.1)
    _put(cameras, 1, 1.2)
    assert _shown(cameras, 1.2) == (0, True)
    assert _shown(cameras, 1.2 + PATIENCE_S) == (1, False)
    cameras.add_answer(_event(1), 9.0)
    assert _shown(cameras, 100.0) == (1, True)


def test_frames_passed_over_are_counted_as_without_event() -> None:
    """Events leave in the order of the frames: a frame between two with events has none, and never will."""
    cameras = _cameras()
    for offset in range(5):
        _put(cameras, offset, 1.0)
    cameras.add_answer(_event(0), 1.0)
    cameras.add_answer(_event(4), 1.0)
    camera = _only(cameras)
    assert camera.without_event.total(1.0) == 3
    assert not camera.waiting
    _put(cameras, 5, 1.1)
    cameras.add_answer(_event(7), 1.2)
    _put(cameras, 6, 1.2)
    assert camera.without_event.total(1.2) == 5


def test_frames_before_the_first_event_are_not_called_lost() -> None:
    """The wall begins in the middle: of earlier events it knows nothing."""
    cameras = _cameras()
    _put(cameras, 0, 1.0)
    cameras.add_answer(_event(1), 1.0)
    assert _only(cameras).without_event.total(1.0) == 0
    assert not _only(cameras).waiting


def test_a_drop_is_counted_and_its_frame_waits_no_longer() -> None:
    """A published drop stands in its frame's place."""
    cameras = _cameras()
    _put(cameras, 0, 1.0)
    cameras.add_answer(_drop(0), 1.0)
    camera = _only(cameras)
    assert camera.dropped.total(1.0) == 1
    assert camera.without_event.total(1.0) == 0
    assert not camera.waiting
    assert _shown(cameras, 1.0) == (0, False)


def test_a_frame_that_tells_nothing_new_is_not_called_dropped() -> None:
    """It was answered: where only changes are events, that is how it should be."""
    cameras = _cameras()
    _put(cameras, 0, 1.0)
    cameras.add_answer(_drop(0, "unchanged"), 1.0)
    assert _only(cameras).dropped.total(1.0) == 0
    assert not _only(cameras).waiting


def test_a_repeated_event_changes_nothing() -> None:
    """At least once means repeats: they are neither counted nor shown again."""
    cameras = _cameras()
    for offset in (0, 1):
        _put(cameras, offset, 1.0)
        cameras.add_answer(_event(offset), 1.0)
    cameras.add_answer(_event(0), 2.0)
    assert _only(cameras).events.total(2.0) == 2
    assert _shown(cameras, 2.0) == (1, True)


def test_cameras_beyond_the_most_are_counted_only() -> None:
    """Names come from outside: neither tiles nor memory grow with them; a place that is left is taken."""
    cameras = _cameras(most=2)
    for number in range(5):
        _put(cameras, number, float(number), camera=f"camera-{number}")
    assert [camera.camera_id for camera in cameras] == ["camera-0", "camera-1"]
    assert cameras.others == 3
    cameras.forget(before_s=1.0)
    assert [camera.camera_id for camera in cameras] == ["camera-1"]
    assert cameras.by_key(0) is None
    _put(cameras, 9, 9.0, camera="camera-4")
    assert cameras.others == 2
    key = next(camera.key for camera in cameras if camera.camera_id == "camera-4")
    assert key == 2


def test_reading_anew_forgets_what_waits_and_keeps_the_cameras() -> None:
    """After a pause frames are read from the end: what waited would wait in vain, the tiles stay."""
    cameras = _cameras()
    _put(cameras, 0, 1.0)
    cameras.add_answer(_event(5), 1.0)
    cameras.reading_frames_again()
    assert cameras.nbytes == 0
    assert _only(cameras).to_show(1.0) is None
    cameras.reading_events_again()
    cameras.add_answer(_event(2), 1.0)
    assert _only(cameras).events.total(1.0) == 2


def test_a_topic_made_anew_begins_at_its_first_offset() -> None:
    """Frames are numbered from 0 again: their events are no repeats of those before."""
    cameras = _cameras()
    _put(cameras, 90, 1.0)
    cameras.add_answer(_event(90), 1.0)
    cameras.reading_frames_again()
    _put(cameras, 0, 2.0)
    cameras.add_answer(_event(0), 2.0)
    assert _shown(cameras, 2.0) == (0, True)


def test_events_wait_for_frames_only_where_frames_are_read() -> None:
    """Without a browser no frame comes: events are counted, and none is held for it."""
    cameras = _cameras()
    for come, held in ((True, 1), (False, 0)):
        cameras.reading_frames_again(come=come)
        cameras.add_answer(_event(7), 1.0)
        assert len(_only(cameras).answers) == held
    assert _only(cameras).events.total(1.0) == 2


@pytest.mark.parametrize("partitions", [1, 3])
def test_frames_without_bytes_do_not_pile_up(partitions: int) -> None:
    """References weigh nothing and events may stay away: of those that wait the oldest give way."""
    cameras = _cameras()
    reference = Look("", None, "a reference")
    for number in range(2 * waiting.MOST):
        place = Place(number % partitions, number)
        cameras.add_frame(_frame(at_ms=number), place, reference, 1.0)
    camera = _only(cameras)
    assert len(camera.waiting) == waiting.MOST
    cameras.add_answer(_event(waiting.MOST, partition=waiting.MOST % partitions), 1.0)
    assert _shown(cameras, 1.0) == (waiting.MOST, True)


def test_a_frame_larger_than_its_share_is_told_not_kept() -> None:
    """The tile says why it is dark, with the setting that mends it."""
    cameras = _cameras(nbytes=1000)
    _put(cameras, 0, 1.0, nbytes=600)
    newest = _only(cameras).newest
    assert newest is not None
    assert newest.image is None
    assert "memory_mib" in newest.look.note


@st.composite
def _steps(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    """Frames and answers of three cameras in two partitions, in any order, some missing or repeated."""
    count = draw(st.integers(0, 60))
    kinds = st.sampled_from(["frame", "event", "drop"])
    return [
        (draw(kinds), draw(st.integers(0, 2)), draw(st.integers(0, 40)), draw(st.integers(0, 900)))
        for _ in range(count)
    ]


@given(_steps())
def test_memory_is_bounded_whatever_comes(steps: list[tuple[str, int, int, int]]) -> None:
    """Held bytes never exceed the bound, nothing raises, and what is shown with an event is its own."""
    cameras = _cameras(2, 4000)
    next_offset = [0, 0]
    for number, (kind, camera, offset, nbytes) in enumerate(steps):
        partition = camera % 2
        if kind == "frame":
            next_offset[partition] += 1 + offset % 3
            place = Place(partition, next_offset[partition])
            cameras.add_frame(_frame(f"c{camera}", nbytes, place.offset), place, SHOWN, number)
        elif kind == "event":
            cameras.add_answer(_event(offset, f"c{camera}", partition), number)
        else:
            cameras.add_answer(_drop(offset), number)
        assert cameras.nbytes <= 4000
        for each in cameras:
            each_waits = {frame.place for frame in each.shown if frame.waits}
            assert len(each_waits) <= len(each.waiting)
            assert bool(each.waiting) or each.waiting.nbytes == 0
        assert len(cameras) <= 2
        for each in cameras:
            shown = each.to_show(number)
            if shown is not None and shown.event is not None:
                assert shown.frame.place == (shown.event.origin.partition, shown.event.origin.offset)
