"""Changes: which frames of a camera are events, with and without a hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.event import Classification, Detection
from riverlens_worker.changes import Changes, Counts, counts_of
from riverlens_worker.messages import Answer
from tests.worker_parts import examples

CAR, PERSON = ("", "car"), ("", "person")
BOX = (0.1, 0.1, 0.2, 0.2)


def _told(steps: list[tuple[int, Counts]], hold_ms: int = 0) -> list[int]:
    """Times of the frames that are events."""
    changes = Changes(hold_ms)
    return [at_ms for at_ms, counts in steps if changes.differs("lobby", counts, at_ms)]


def test_the_first_frame_and_each_change_are_events() -> None:
    """An empty picture may be the first; coming, going and another number are changes."""
    steps: list[tuple[int, Counts]] = [
        (0, {}), (1, {}), (2, {CAR: 1}), (3, {CAR: 1}), (4, {CAR: 2}), (5, {CAR: 2, PERSON: 1}),
        (6, {PERSON: 1, CAR: 2}), (7, {PERSON: 1}), (8, {}), (9, {}),
    ]  # fmt: skip
    assert _told(steps) == [0, 2, 4, 5, 7, 8]


def test_cameras_are_apart() -> None:
    """Each has its own last event."""
    changes = Changes()
    assert changes.differs("lobby", {CAR: 1}, 0)
    assert changes.differs("yard", {CAR: 1}, 1)
    assert not changes.differs("lobby", {CAR: 1}, 2)
    assert changes.differs("yard", {}, 3)


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        ([(0, {}), (100, {CAR: 1}), (200, {}), (300, {CAR: 1}), (400, {})], [0]),
        ([(0, {}), (100, {CAR: 1}), (300, {CAR: 1}), (400, {CAR: 1}), (500, {CAR: 1})], [0, 400]),
        ([(0, {}), (100, {CAR: 1}), (300, {CAR: 2}), (400, {CAR: 2}), (600, {CAR: 2})], [0, 600]),
        ([(0, {CAR: 1}), (100, {}), (400, {}), (500, {})], [0, 400]),
        ([(0, {}), (9_000, {CAR: 1}), (100, {CAR: 1}), (399, {CAR: 1}), (400, {CAR: 1})], [0, 400]),
        (
            [(0, {}), (100, {CAR: 1}), (200, {CAR: 1, PERSON: 1}), (400, {CAR: 1}), (800, {CAR: 1})],
            [0, 400],
        ),
        (
            [(0, {}), (100, {CAR: 1}), (400, {CAR: 1, PERSON: 1}), (500, {CAR: 1}), (800, {CAR: 1})],
            [0, 400, 800],
        ),
    ],
    ids=[
        "flicker",
        "held",
        "another number begins anew",
        "gone",
        "a clock set back",
        "each label by itself",
        "flicker that an event has shown is taken back",
    ],
)
def test_a_change_counts_once_it_has_held(steps: list[tuple[int, Counts]], events: list[int]) -> None:
    """With a hold of 300 ms of capture time: less is flicker."""
    assert _told(steps, 300) == events


COUNTS = st.dictionaries(st.sampled_from([CAR, PERSON, ("door", "car")]), st.integers(1, 3))
STEPS = st.lists(st.tuples(st.integers(0, 400), COUNTS), max_size=25).map(
    lambda steps: [(sum(gap for gap, _ in steps[: n + 1]), counts) for n, (_, counts) in enumerate(steps)]
)


@examples(150)
@given(STEPS)
def test_without_a_hold_an_event_is_just_another_count(steps: list[tuple[int, Counts]]) -> None:
    """The counts of the events are those of all frames, less what repeats the one before."""
    shown: list[Counts] = []
    for _, counts in steps:
        if not shown or counts != shown[-1]:
            shown.append(counts)
    changes = Changes()
    assert [counts for at_ms, counts in steps if changes.differs("lobby", counts, at_ms)] == shown


@examples(150)
@given(STEPS, st.integers(0, 1_000))
def test_what_stays_is_told_in_the_end(steps: list[tuple[int, Counts]], hold_ms: int) -> None:
    """Once the last counts have held, the last event shows them, and one more frame of them is no event."""
    changes = Changes(hold_ms)
    last_ms, counts = steps[-1] if steps else (0, {})
    seen = [*steps, (last_ms, counts), (last_ms + hold_ms, counts)]
    *_, shown = [each for at_ms, each in seen if changes.differs("lobby", each, at_ms)]
    assert shown == counts
    assert not changes.differs("lobby", counts, last_ms + 2 * hold_ms)
    camera = changes._cameras["lobby"]
    assert (camera.told, camera.held) == (counts, {})


@examples(150)
@given(st.lists(COUNTS, min_size=1, max_size=25), st.integers(0, 25), st.integers(0, 25))
def test_whoever_takes_over_tells_what_readers_do_not_know(
    frames: list[Counts], committed: int, published: int
) -> None:
    """Its last owner published more than it committed: readers end with the last frame's counts even so."""
    committed, published = sorted((min(committed, len(frames) - 1), min(published, len(frames))))
    told: list[int] = []
    for begin, end in ((0, published), (committed, len(frames))):
        changes = Changes()
        told += [n for n in range(begin, end) if changes.differs("lobby", frames[n], n)]
    assert frames[max(told)] == frames[-1], "to a reader that leaves out what is not above the highest offset"
    assert frames[told[-1]] == frames[-1], "to one that takes each event as it comes"


def test_what_is_counted() -> None:
    """By zone where a camera has some, outside of which nothing counts; classes by label; arrays not."""
    found = [Detection("car", 3, 0.9, BOX, zones) for zones in (("a", "b"), ("a",), ())]
    assert counts_of(Answer(detections=found)) == {("a", "car"): 2, ("b", "car"): 1}
    assert counts_of(Answer(detections=[Detection("car", 3, 0.9, BOX)] * 2)) == {CAR: 2}
    assert counts_of(Answer(detections=[])) == {}
    assert counts_of(Answer(classes=[Classification("car", 3, 0.9)])) == {CAR: 1}
    assert counts_of(Answer(outputs={"y": 1})) is None


def test_cameras_without_end_do_not_grow_memory() -> None:
    """The one not seen for longest makes room; those that go on sending keep their last event."""
    changes = Changes()
    for number in range(10_500):
        changes.differs(f"camera-{number}", {}, number)
        changes.differs("lobby", {}, number)
    assert len(changes._cameras) <= 10_000
    assert not changes.differs("lobby", {}, 20_000)
    assert changes.differs("camera-0", {}, 20_000)
