"""Filters: what an event leaves out, and that it leaves out nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.event import Classification, Detection
from riverlens_worker.messages import Answer
from riverlens_worker.selection import Filters, Selection, parse_scores
from riverlens_worker.zones import Zone
from tests.worker_parts import examples

LEFT = Zone("left", "lobby*", ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
LOW = Zone("low", "*", ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)))
FOUND = [
    Detection("person", 1, 0.9, (0.1, 0.1, 0.2, 0.4)),
    Detection("car", 3, 0.8, (0.6, 0.6, 0.9, 0.9)),
    Detection("carrot", 57, 0.6, (0.2, 0.5, 0.3, 0.6)),
    Detection("person", 1, 0.4, (0.0, 0.0, 1.0, 1.0)),
]


def _kept(filters: Filters, zones: Sequence[Zone] = (), camera: str = "lobby-1") -> list[int]:
    """Places in FOUND of what is left."""
    found = Selection(filters, zones).of(camera, Answer(detections=FOUND)).detections
    assert found is not None
    return [next(n for n, each in enumerate(FOUND) if each.box == left.box) for left in found]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (Filters(), [0, 1, 2, 3]),
        (Filters(only_labels=["person"]), [0, 3]),
        (Filters(only_labels=["car*"]), [1, 2]),
        (Filters(only_labels=["car*"], skip_labels=["carrot"]), [1]),
        (Filters(skip_labels=["p*", "?ar"]), [2]),
        (Filters(min_scores=[("person", 0.5)]), [0, 1, 2]),
        (Filters(min_scores=[("person", 0.3), ("*", 0.7)]), [0, 1, 3]),
        (Filters(min_box_area=0.05), [1, 3]),
        (Filters(max_box_area=0.05), [0, 2]),
        (Filters(min_box_area=0.05, max_box_area=0.5), [1]),
        (Filters(max_detections=2), [0, 1]),
        (Filters(only_labels=["person"], max_detections=2), [0, 3]),
        (Filters(only_labels=["Person"]), []),
    ],
)
def test_each_filter_leaves_out_what_it_says(filters: Filters, kept: list[int]) -> None:
    """Patterns, case and all; the first score that matches; areas; the most that are left, best first."""
    assert _kept(filters) == kept


def test_a_detection_stands_where_its_bottom_centre_is() -> None:
    """Its zones are in the order of the settings; cameras without zones have none to tell."""
    selection = Selection(Filters(), [LEFT, LOW])
    told = selection.of("lobby-1", Answer(detections=FOUND)).detections or ()
    assert [each.zones for each in told] == [("left",), ("low",), ("left", "low"), ("left", "low")]
    told = selection.of("yard", Answer(detections=FOUND)).detections or ()
    assert [each.zones for each in told] == [(), ("low",), ("low",), ("low",)]
    told = Selection(Filters(), [LEFT]).of("yard", Answer(detections=FOUND)).detections or ()
    assert list(told) == FOUND


def test_what_stands_in_no_zone_may_be_left_out() -> None:
    """Of cameras that have zones; others keep all."""
    assert _kept(Filters(only_zones=True), [LEFT]) == [0, 2, 3]
    assert _kept(Filters(only_zones=True), [LEFT], camera="yard") == [0, 1, 2, 3]


def test_classes_have_labels_and_scores_and_arrays_have_neither() -> None:
    """Boxes' filters do not touch classes; arrays stay as they are."""
    filters = Filters(skip_labels=["cat"], min_scores=[("dog", 0.5)], min_box_area=0.9, max_detections=1)
    classes = [Classification("cat", 1, 0.9), Classification("owl", 3, 0.6), Classification("dog", 2, 0.4)]
    assert Selection(filters).of("lobby", Answer(classes=classes)).classes == [classes[1]]
    arrays = Answer(outputs={"y": [1.0]})
    assert Selection(filters).of("lobby", arrays) is arrays


LABELS = st.sampled_from(["person", "car", "carrot", "dog"])
BOXES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.5, 1), st.floats(0.5, 1))
DETECTIONS = st.lists(st.builds(Detection, LABELS, st.integers(1, 9), st.floats(0, 1), BOXES), max_size=8)
PATTERNS = st.lists(st.sampled_from(["person", "car*", "?og", "*"]), max_size=2)
FILTERS = st.builds(
    Filters,
    only_labels=PATTERNS,
    skip_labels=PATTERNS,
    min_scores=st.lists(st.tuples(st.sampled_from(["person", "c*"]), st.floats(0, 1)), max_size=2),
    min_box_area=st.floats(0, 0.5),
    max_box_area=st.floats(0.5, 1),
    only_zones=st.booleans(),
    max_detections=st.integers(1, 9),
)


@examples(150)
@given(
    found=DETECTIONS, filters=FILTERS, zones=st.lists(st.sampled_from([LEFT, LOW]), max_size=2, unique=True)
)
def test_filtering_adds_nothing_keeps_the_order_and_is_done_once(
    found: list[Detection], filters: Filters, zones: list[Zone]
) -> None:
    """What is left is a part of the detections in their order; filtering it again changes nothing."""
    selection = Selection(filters, zones)
    once = selection.of("lobby-1", Answer(detections=found))
    assert once.detections is not None
    rest = iter(found)
    for kept in once.detections:
        assert any((each.label, each.score, each.box) == (kept.label, kept.score, kept.box) for each in rest)
    assert len(once.detections) <= filters.max_detections
    assert selection.of("lobby-1", once).detections == once.detections


def test_labels_without_end_do_not_grow_memory() -> None:
    """A model server that makes names up costs no more than a bounded table."""
    selection = Selection(Filters(only_labels=["a*"]))
    for number in range(10_500):
        selection.of("lobby", Answer(classes=[Classification(f"class-{number}", number, 0.5)]))
    assert len(selection._least) <= 10_000


@pytest.mark.parametrize("asks", [{"only_labels": ["a"]}, {"min_box_area": 0.1}, {"only_zones": True}])
def test_filters_know_whether_they_may_leave_something_out(asks: dict[str, Any]) -> None:
    """Where they may not, nobody asks them."""
    assert Filters(**asks).asks
    assert not Filters(max_detections=5).asks


@pytest.mark.parametrize("text", ["person", "person=", "=0.5", "person=high", "person=1.5", "person=nan", ""])
def test_a_score_that_is_none_is_told(text: str) -> None:
    """In one line that shows how it should look."""
    with pytest.raises(ValueError, match=r"such as person=0\.5"):
        parse_scores([text])


def test_a_score_that_never_counts_is_told() -> None:
    """The first match wins, so what stands behind its like is a mistake."""
    assert parse_scores(["a=b=0.5", " car* = 0.6 "]) == (("a=b", 0.5), ("car*", 0.6))
    for texts in (["*=0.5", "car=0.6"], ["car=0.5", "car=0.6"]):
        with pytest.raises(ValueError, match="never counts"):
            parse_scores(texts)
