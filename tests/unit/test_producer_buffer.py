"""The bounded buffer between cameras and Kafka."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.frame import Frame
from riverlens.frame_buffer import FrameBuffer

_KIB = 1024


def _frame(sequence: int, size_bytes: int = 10 * _KIB) -> Frame:
    return Frame("lobby", bytes(size_bytes), 0, sequence=sequence)


def _filled(count: int, *, droppable: bool = True, limit_bytes: int = 1024 * _KIB) -> FrameBuffer:
    buffer = FrameBuffer(limit_bytes)
    for sequence in range(count):
        buffer.push(_frame(sequence), droppable=droppable)
    return buffer


def _drain(buffer: FrameBuffer) -> list[int | None]:
    taken = []
    while entry := buffer.take(2**40):
        taken.append(entry.frame.sequence)
    return taken


def test_an_empty_buffer_takes_any_frame() -> None:
    """A frame larger than the whole limit is not stuck for ever."""
    assert FrameBuffer(_KIB).has_room(_frame(0))


def test_frames_leave_in_order_and_wait_while_the_window_is_full() -> None:
    """At most one frame beyond the window is in flight; settling one lets the next one go."""
    buffer = _filled(3)
    first = buffer.take(_KIB)
    assert first is not None
    assert buffer.take(_KIB) is None
    assert buffer.settle(first)
    assert _drain(buffer) == [1, 2]


def test_settling_twice_counts_once() -> None:
    """A late answer for a frame that has settled changes nothing."""
    buffer = _filled(2)
    entry = buffer.take(2**40)
    assert entry is not None
    assert [buffer.settle(entry), buffer.settle(entry)] == [True, False]
    assert len(buffer) == 1


def test_eviction_takes_the_oldest_that_still_wait() -> None:
    """What is in flight cannot be dropped; of the others the oldest go, as many as needed."""
    buffer = _filled(5, limit_bytes=55 * _KIB)
    buffer.take(_KIB)
    gone = buffer.evict_for(_frame(9, 20 * _KIB))
    assert [entry.frame.sequence for entry in gone] == [1, 2]
    assert buffer.has_room(_frame(9, 20 * _KIB))


@pytest.mark.parametrize("droppable", [True, False])
def test_eviction_removes_nothing_where_it_would_not_help(
    droppable: bool,  # noqa: FBT001  # the table's
) -> None:
    """A frame that cannot fit anyway costs no other frame; frames that block are never dropped."""
    buffer = _filled(5, droppable=droppable, limit_bytes=55 * _KIB)
    assert buffer.evict_for(_frame(9, (60 if droppable else 10) * _KIB)) == []
    assert len(buffer) == 5


def test_requeued_frames_come_before_those_that_wait() -> None:
    """After a client was lost its frames are sent again first, in their order."""
    buffer = _filled(5)
    taken = [buffer.take(2**40) for _ in range(3)]
    assert taken[1] is not None
    buffer.settle(taken[1])
    assert buffer.requeue() == 2
    assert _drain(buffer) == [0, 2, 3, 4]


@given(st.lists(st.tuples(st.sampled_from("ptsrec"), st.integers(0, 40 * _KIB)), max_size=60))
def test_held_bytes_are_the_sum_and_stay_within_the_limit(steps: list[tuple[str, int]]) -> None:
    """After any steps, bytes held match the frames held, and frames leave in the order they came."""
    buffer, flying = FrameBuffer(100 * _KIB), []
    for number, (step, size_bytes) in enumerate(steps):
        frame = _frame(number, size_bytes)
        if step == "p" and buffer.has_room(frame):
            buffer.push(frame, droppable=number % 2 == 0)
        elif step == "t" and (entry := buffer.take(50 * _KIB)):
            flying.append(entry)
        elif step == "s" and flying:
            buffer.settle(flying.pop())
        elif step == "r":
            buffer.requeue()
            flying.clear()
        elif step == "e":
            buffer.evict_for(frame)
        assert buffer.held_bytes <= 100 * _KIB
        assert buffer.in_flight_bytes <= buffer.held_bytes
    left = [entry.serial for entry in buffer.clear()]
    assert len(buffer) == buffer.held_bytes == 0
    assert len(set(left)) == len(left)
