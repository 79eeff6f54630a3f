"""Zones: what lies in a polygon, whose zones are whose, and what is said of ones that are wrong."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from riverlens_worker.zones import Zone, Zones, read_zones
from tests.worker_parts import examples

UNIT = st.floats(0, 1)
POINT = st.tuples(UNIT, UNIT)
EIGHTH = st.integers(0, 8).map(lambda n: n / 8)  # exact, so that edges are
CORNERS = st.lists(st.tuples(EIGHTH, EIGHTH), min_size=3, max_size=9)
SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
PICTURE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
HORSESHOE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.7, 1.0), (0.7, 0.3), (0.3, 0.3), (0.3, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("points", "x", "y", "inside"),
    [
        (SQUARE, 0.5, 0.5, True),
        (SQUARE, 0.25, 0.5, True),
        (SQUARE, 0.75, 0.75, True),
        (SQUARE, 0.5, 0.7500001, False),
        (SQUARE, 0.1, 0.25, False),
        (PICTURE, 0.5, 1.0, True),
        (PICTURE, 1.0, 1.0, True),
        (HORSESHOE, 0.5, 0.6, False),
        (HORSESHOE, 0.5, 0.3, True),
        (HORSESHOE, 0.85, 0.9, True),
    ],
)
def test_a_zone_holds_its_inside_and_its_edges(
    points: tuple[tuple[float, float], ...], x: float, y: float, *, inside: bool
) -> None:
    """Convex or not, corners and the picture's border included; what lies in a bay is outside."""
    assert Zone("z", "*", points).holds(x, y) == inside


@examples(200)
@given(a=POINT, b=POINT, x=UNIT, y=UNIT)
def test_a_rectangle_holds_what_lies_between_its_sides(
    a: tuple[float, float], b: tuple[float, float], x: float, y: float
) -> None:
    """The polygon's test agrees with four comparisons."""
    (x1, x2), (y1, y2) = sorted((a[0], b[0])), sorted((a[1], b[1]))
    assume(x2 - x1 > 1e-6 and y2 - y1 > 1e-6)
    near = min(abs(x - x1), abs(x - x2), abs(y - y1), abs(y - y2)) < 1e-6
    assume(not near)
    zone = Zone("z", "*", ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))
    assert zone.holds(x, y) == (x1 <= x <= x2 and y1 <= y <= y2)


@examples(150)
@given(points=CORNERS, x=EIGHTH, y=EIGHTH, turn=st.integers(0, 8))
def test_where_a_polygon_begins_and_which_way_it_goes_do_not_matter(
    points: list[tuple[float, float]], x: float, y: float, turn: int
) -> None:
    """The same corners in the same order from another one on, or backwards, hold the same."""
    start = turn % len(points)
    turned = points[start:] + points[:start]
    here = Zone("z", "*", tuple(points)).holds(x, y)
    assert Zone("z", "*", tuple(turned)).holds(x, y) == here
    assert Zone("z", "*", tuple(reversed(points))).holds(x, y) == here


@examples(60)
@given(st.lists(POINT, min_size=3, max_size=9))
def test_a_zone_holds_its_own_corners(points: list[tuple[float, float]]) -> None:
    """A corner lies on two edges, and edges belong to the zone."""
    zone = Zone("z", "*", tuple(points))
    assert all(zone.holds(x, y) for x, y in points)


def _table(**fields: Any) -> dict[str, Any]:
    return {"name": "door", "points": [[0, 0], [1, 0], [1, 1]]} | fields


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ('[{"name"', "not JSON"),
        (_table(), "zones are a list of tables"),
        (3, "zones are a list of tables"),
        (["door"], "zone 1 is no table"),
        ([{"points": [[0, 0], [1, 0], [1, 1]]}], "zone 1 has no name"),
        ([_table(name=7)], "zone 1 has no name"),
        ([_table(camera="lobby")], "zone 1 (door): no such field 'camera', perhaps cameras"),
        ([_table(cameras="")], "cameras is a pattern"),
        ([_table(), {"name": "yard"}], "zone 2 (yard) has no points"),
        ([_table(points="0,0 1,0 1,1")], "has no points"),
        ([_table(points=[[0, 0], [1, 1]])], "has 2 points; a polygon has 3"),
        ([_table(points=[[0, 0], [0.5, 0.5], [1, 1]])], "lie on one line"),
        ([_table(points=[[0, 0], [0, 0], [0, 0]])], "lie on one line"),
        ([_table(points=[[0, 0], [640, 0], [640, 480]])], "point 2: [640, 0] lies outside the picture"),
        ([_table(points=[[0, 0], [1, float("nan")], [1, 1]])], "point 2: [1, nan] lies outside"),
        ([_table(points=[[0, 0], [1, True], [1, 1]])], "point 2: [1, True] is no pair of numbers"),
        ([_table(points=[[0, 0], [1], [1, 1]])], "point 2: [1] is no pair of numbers"),
        ([_table(), _table(cameras="lobby-*")], "zone 2 (door) never counts"),
    ],
)
def test_a_wrong_zone_is_told_in_one_line(given: Any, text: str) -> None:
    """Which zone, which point, and what it should be; nothing is guessed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is looked at below
        read_zones(given)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_and_json_say_the_same() -> None:
    """What TOML gives as tables, flags and the environment give as text."""
    tables = [_table(cameras="lobby-*"), _table(name="all")]
    zones = read_zones(tables)
    assert zones == read_zones(orjson.dumps(tables).decode()) == read_zones(zones)
    assert zones[0] == Zone("door", "lobby-*", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
    assert zones[1].cameras == "*"
    assert read_zones("") == read_zones([]) == ()


def test_each_camera_has_the_zones_whose_pattern_matches() -> None:
    """In the order of the settings; of one name the first, so that an exception stands before the rule."""
    zones = Zones(
        [Zone("door", "lobby-1", SQUARE), Zone("door", "lobby-*", PICTURE), Zone("yard", "y*", PICTURE)]
    )
    assert [zone.points for zone in zones.of("lobby-1")] == [SQUARE]
    assert [zone.points for zone in zones.of("lobby-2")] == [PICTURE]
    assert [zone.name for zone in zones.of("yard")] == ["yard"]
    assert zones.of("roof") == ()
    for number in range(10_500):
        zones.of(f"camera-{number}")
    assert len(zones._known) <= 10_000, "ids come from outside: what is known of them is bounded"
