"""What becomes of answers in the publisher: filtered, dropped as unchanged, each lease by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from riverlens.event import Detection
from riverlens_worker.messages import Answer, BatchReason, Prediction, Rejected
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.publisher.chooser import Chooser
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import decoded, leased

CAR = Detection("car", 3, 0.9, (0.1, 0.1, 0.2, 0.9))
DOOR = {"name": "door", "points": [[0, 0.8], [1, 0.8], [1, 1], [0, 1]]}


def _chooser(**settings: Any) -> Chooser:
    chooser = Chooser.of(WorkerSettings(**settings))
    assert chooser is not None
    return chooser


def _answered(
    lease: PartitionLease, offset: int, *found: Detection, outputs: bool = False, redriven: int = 0
) -> Prediction:
    source = leased(lease, offset)
    source = replace(source, frame=replace(source.frame, redriven=redriven))
    answer = Answer(outputs={"y": [1]}) if outputs else Answer(detections=list(found))
    row = replace(decoded(offset), source=source)
    return Prediction(row, answer, 1, 1.0, 1, BatchReason.FULL, 1.0, 1.0)


def _events(chooser: Chooser, answers: list[Prediction]) -> list[int]:
    """Offsets of the frames that are events; the others must be dropped as unchanged."""
    chosen = [chooser.choose(answer) for answer in answers]
    gone = [each for each in chosen if isinstance(each, Rejected)]
    assert {(each.outcome.value, each.reason) for each in gone} <= {("dropped", "unchanged")}
    return [each.source.source.offset for each in chosen if isinstance(each, Prediction)]


def test_by_default_nobody_is_asked() -> None:
    """Neither filters, nor zones, nor changes: no object, so no cost for a frame."""
    assert Chooser.of(WorkerSettings()) is None
    assert Chooser.of(WorkerSettings(max_detections=5, min_score=0.9)) is None


def test_with_filters_alone_every_frame_is_an_event() -> None:
    """Even where nothing is left in it."""
    lease = PartitionLease("frames", 0)
    chooser = _chooser(only_labels="person")
    assert _events(chooser, [_answered(lease, n, CAR) for n in range(3)]) == [0, 1, 2]
    chosen = chooser.choose(_answered(lease, 3, CAR))
    assert isinstance(chosen, Prediction)
    assert chosen.answer.detections == []


def test_what_filters_leave_out_is_no_change() -> None:
    """Counts are those of what events would tell."""
    lease = PartitionLease("frames", 0)
    person = CAR._replace(label="person")
    answers = [_answered(lease, 0), _answered(lease, 1, CAR), _answered(lease, 2, CAR, person)]
    assert _events(_chooser(only_labels="person", events="changes"), answers) == [0, 2]


def test_with_zones_only_what_stands_in_one_counts() -> None:
    """A car that passes outside is no event; one that comes to the door is."""
    lease = PartitionLease("frames", 0)
    outside = CAR._replace(box=(0.1, 0.1, 0.2, 0.5))
    answers = [_answered(lease, 0), _answered(lease, 1, outside), _answered(lease, 2, outside, CAR)]
    chooser = _chooser(zones=[DOOR], events="changes")
    assert _events(chooser, answers) == [0, 2]
    chosen = chooser.choose(_answered(lease, 3, outside))
    assert isinstance(chosen, Prediction)
    assert [found.zones for found in chosen.answer.detections or ()] == [()]


def test_a_new_lease_begins_with_an_event() -> None:
    """What another worker, or this one before, has seen of the camera is not known here."""
    chooser = _chooser(events="changes")
    first, second = PartitionLease("frames", 0), PartitionLease("frames", 0)
    assert _events(chooser, [_answered(first, n, CAR) for n in range(3)]) == [0]
    assert _events(chooser, [_answered(second, n, CAR) for n in range(3, 6)]) == [3]
    chooser.forget([first, second])
    assert not chooser._changes


@pytest.mark.parametrize("odd", [{"outputs": True}, {"redriven": 1}])
def test_arrays_and_redriven_frames_are_always_events(odd: dict[str, Any]) -> None:
    """Nobody knows what a change of arrays is; a redriven frame shows another time, and changes nothing."""
    lease = PartitionLease("frames", 0)
    chooser = _chooser(events="changes")
    answers = [
        _answered(lease, 0, CAR),
        *(_answered(lease, n, **odd) for n in (1, 2)),
        _answered(lease, 3, CAR),
    ]
    assert _events(chooser, answers) == [0, 1, 2]


def test_a_hold_counts_capture_time() -> None:
    """Not the time at which the answer happens to come."""
    lease = PartitionLease("frames", 0)
    chooser = _chooser(events="changes", changes_hold_ms=250)
    answers = []
    for offset in range(6):
        answer = _answered(lease, offset, *([CAR] if offset else []))
        source = answer.source.source
        frame = replace(source.frame, captured_at_ms=source.frame.captured_at_ms + 100 * offset)
        answers.append(replace(answer, source=replace(answer.source, source=replace(source, frame=frame))))
    assert _events(chooser, answers) == [0, 4]
