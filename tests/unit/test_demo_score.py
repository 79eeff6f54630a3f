"""How the demo counts, scores and sums up."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.dead_letter import Origin
from riverlens.demo.observer import Seen, percentile
from riverlens.demo.score import Score, overlap, score_frame
from riverlens.demo.summary import Summary, final_balance
from riverlens.demo.worker_metrics import WorkerMetrics, parse
from riverlens.event import Detection, Event, Model
from riverlens.scenes.truth import Label, SceneObject


def _thing(
    label: Label, box: tuple[float, float, float, float], *, visible: float = 1.0, size_px: float = 64
) -> SceneObject:
    return SceneObject(label, *box, visible=visible, size_px=size_px)


def _event(offset: int, *, partition: int = 0, camera: str = "a", batch: int = 1) -> Event:
    return Event(
        origin=Origin("frames", partition, offset),
        camera_id=camera,
        frame_id=None,
        sequence=offset,
        captured_at_ms=1_000,
        image_size=(640, 480),
        model=Model("street", 1, "serving_default"),
        timing_ms={},
        batch_size=batch,
        batch_reason="device_free",
        detections=[],
    )


def _summary(seen: Seen, metrics: WorkerMetrics) -> Summary:
    return Summary(produced=seen.count, metrics=metrics, seen=seen, seconds=1, first_event_s=1, score=None)


def test_each_object_counts_once() -> None:
    """A second detection of the same object is wrong, the first is right."""
    box = (0.1, 0.1, 0.3, 0.3)
    found = [Detection("car", 1, score, box) for score in (0.9, 0.8)]
    assert score_frame(found, [_thing("car", box)]) == Score(right=1, wrong=1, missed=0)


def test_a_detection_of_another_class_is_wrong_and_its_object_missed() -> None:
    """Class and place must both fit."""
    box = (0.1, 0.1, 0.3, 0.3)
    assert score_frame([Detection("person", 2, 0.9, box)], [_thing("car", box)]) == Score(0, 1, 1)


@pytest.mark.parametrize("ignored", [{"visible": 0.2}, {"size_px": 10.0}])
def test_hidden_and_tiny_objects_count_neither_way(ignored: dict[str, float]) -> None:
    """An ignored object is not missed, and finding it is not wrong."""
    box = (0.1, 0.1, 0.3, 0.3)
    thing = _thing("car", box, **ignored)
    assert score_frame([], [thing]) == Score(0, 0, 0)
    assert score_frame([Detection("car", 1, 0.9, box)], [thing]) == Score(0, 0, 0)


def test_overlap_of_half_shifted_boxes_is_a_third() -> None:
    """IoU of two unit boxes shifted by half is 1/3."""
    assert overlap((0, 0, 1, 1), (0.5, 0, 1.5, 1)) == pytest.approx(1 / 3)


def test_a_score_without_objects_has_no_recall() -> None:
    """Nothing to find is no recall, not a perfect or a bad one."""
    assert Score(0, 1, 0).recall is None
    assert Score(0, 0, 1).precision is None


def test_repeats_and_inversions_are_told_apart() -> None:
    """The same event id is a repeat; a lower offset after a higher one of its partition is an inversion."""
    seen = Seen()
    for offset in (0, 1, 1, 3, 2):
        seen.add(_event(offset), written_ms=1_010, now_s=1.0)
    seen.add(_event(0, partition=1), written_ms=1_010, now_s=1.0)
    assert (seen.count, seen.repeats, seen.inversions) == (5, 1, 1)


def test_the_mean_batch_counts_calls_not_events() -> None:
    """One call of 3 and one of 1 are 2 rows a call on average, whatever the share of events."""
    seen = Seen()
    for offset, batch in enumerate((3, 3, 3, 1)):
        seen.add(_event(offset, batch=batch), written_ms=1_010, now_s=1.0)
    assert seen.mean_batch() == pytest.approx(2.0)


def test_percentile_of_nothing_is_none() -> None:
    """No values have no percentile; of many it is the value that the share does not exceed."""
    assert percentile([], 0.5) is None
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(map(float, range(100))), 0.99) == 99


def test_numbers_that_do_not_balance_are_a_problem() -> None:
    """The demo fails when a frame has no outcome, or Kafka holds another number of events."""
    seen = Seen()
    seen.add(_event(0), written_ms=1_010, now_s=1.0)
    good = WorkerMetrics(consumed=1, outcomes={"published": 1})
    assert _summary(seen, good).problems() == []
    lost = WorkerMetrics(consumed=2, outcomes={"published": 1})
    assert _summary(seen, lost).problems() == ["the numbers do not balance"]
    other = WorkerMetrics(consumed=2, outcomes={"published": 2})
    assert "published 2 events, Kafka gave back 1" in _summary(seen, other).problems()[0]


def test_the_last_balance_of_the_log_counts(tmp_path: Path) -> None:
    """The worker's final counts are read from its JSON log; a log without them gives none."""
    log = tmp_path / "worker.log"
    log.write_text('{"message":"stopping"}\n')
    assert final_balance(log) is None
    with log.open("a") as file:
        file.write(
            '{"message":"balance: consumed 3","consumed":3,"published":2,"dropped":0,'
            '"dead_lettered":1,"fenced":0,"in_flight":0}\n'
        )
    found = final_balance(log)
    assert found is not None
    assert found.balanced
    assert found.outcomes["dead_lettered"] == 1


def test_worker_metrics_are_read_by_label() -> None:
    """Outcomes and reasons are summed over their labels."""
    text = (
        "riverlens_frames_consumed_total 5.0\n"
        'riverlens_frames_total{outcome="published",reason=""} 3.0\n'
        'riverlens_frames_total{outcome="dead_lettered",reason="undecodable"} 1.0\n'
        "riverlens_in_flight_frames 1.0\n"
    )
    metrics = parse(text)
    assert metrics.balanced
    assert metrics.reasons == {"undecodable": 1}
