"""Zones: named polygons in a camera's picture; which of them a detection stands in. Pure.

A detection stands where its box's bottom centre is: where a person's feet or a car's wheels are. Edges belong
to a zone, so that one along the picture's border holds what the border cuts off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import orjson

Point = tuple[float, float]

_MOST_CAMERAS = 10_000
_MOST_POINTS = 1_000
_FEWEST_POINTS = 3
_ON_EDGE = 1e-9
_FIELDS = ("name", "cameras", "points")
_FORM = '{"name": "door", "cameras": "lobby-*", "points": [[0.1, 0.5], [0.4, 0.5], [0.4, 1], [0.1, 1]]}'


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon in the pictures of some cameras.

    Attributes:
        name: what events call it.
        cameras: a glob pattern (`*`, `?`, `[abc]`) of camera ids, case and all.
        points: its corners in order, (x, y) as fractions of width and height from the top left; the last
            one is joined to the first. Where edges cross, the even-odd rule tells what is inside.
    """

    name: str
    cameras: str
    points: tuple[Point, ...]

    def holds(self, x: float, y: float) -> bool:
        """Whether the point lies inside or on an edge."""
        inside = False
        x1, y1 = self.points[-1]
        for x2, y2 in self.points:
            off = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
            if abs(off) <= _ON_EDGE and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
                return True
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
            x1, y1 = x2, y2
        return inside


def read_zones(given: Any) -> Any:
    """Zones from a list of tables, as TOML gives it, or from JSON text, as flags and the environment do.

    Raises:
        ValueError: one line: which zone is wrong, and how it should look.
    """
    if isinstance(given, str):
        given = _from_json(given)
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"zones are a list of tables such as {_FORM}")  # noqa: TRY004  # pydantic shows these
    zones: list[Zone] = []
    for number, each in enumerate(given, 1):
        zone = each if isinstance(each, Zone) else _zone(each, f"zone {number}")
        hiding = [z for z in zones if z.name == zone.name and z.cameras in ("*", zone.cameras)]
        if hiding:
            raise ValueError(
                f"zone {number} ({zone.name}) never counts: one of its name, of {hiding[0].cameras!r}, "
                "stands before it and matches all its cameras; put it first, or name it otherwise"
            )
        zones.append(zone)
    return tuple(zones)


def _from_json(text: str) -> Any:
    if not text.strip():
        return ()
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error}); it should be like [{_FORM}]") from None


def _zone(table: Any, which: str) -> Zone:
    if not isinstance(table, Mapping):
        raise ValueError(f"{which} is no table such as {_FORM}")  # noqa: TRY004  # pydantic shows these
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{which} has no name; it should be like {_FORM}")
    which = f"{which} ({name})"
    for field in table:
        if field not in _FIELDS:
            meant = get_close_matches(str(field), _FIELDS, n=1)
            raise ValueError(f"{which}: no such field {field!r}" + (f", perhaps {meant[0]}" if meant else ""))
    cameras = table.get("cameras", "*")
    if not isinstance(cameras, str) or not cameras:
        raise ValueError(f"{which}: cameras is a pattern of camera ids such as lobby-*, not {cameras!r}")
    return Zone(name, cameras, _points(table.get("points"), which))


def _points(given: Any, which: str) -> tuple[Point, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ValueError(f"{which} has no points; it should be like {_FORM}")  # noqa: TRY004  # pydantic shows these
    if not _FEWEST_POINTS <= len(given) <= _MOST_POINTS:
        raise ValueError(f"{which} has {len(given)} points; a polygon has 3 to {_MOST_POINTS}")
    points = tuple(_point(each, f"{which}, point {number}") for number, each in enumerate(given, 1))
    (x1, y1), *others = points
    spans = [(x - x1, y - y1) for x, y in others if (x, y) != (x1, y1)]
    if not any(abs(spans[0][0] * dy - spans[0][1] * dx) > _ON_EDGE for dx, dy in spans):
        raise ValueError(f"{which}: its points lie on one line; nothing could stand in it")
    return points


def _point(given: Any, which: str) -> Point:
    pair = given if isinstance(given, list | tuple) else ()
    if len(pair) != 2 or any(type(each) not in (int, float) for each in pair):  # noqa: PLR2004  # x and y
        raise ValueError(f"{which}: {given!r} is no pair of numbers such as [0.25, 0.8]")
    x, y = pair
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(
            f"{which}: [{x}, {y}] lies outside the picture; x and y are fractions of width and height, 0 to 1"
        )
    return float(x), float(y)


class Zones:
    """The zones of all cameras."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = zones
        self._known: dict[str, tuple[Zone, ...]] = {}

    def of(self, camera_id: str) -> tuple[Zone, ...]:
        """Those whose pattern matches, as they were given; of several of one name the first."""
        found = self._known.get(camera_id)
        if found is None:
            # Ids come from outside: cameras that come and go must not grow this for ever.
            if len(self._known) >= _MOST_CAMERAS:
                self._known.clear()
            named: dict[str, Zone] = {}
            for zone in self._zones:
                if fnmatchcase(camera_id, zone.cameras):
                    named.setdefault(zone.name, zone)
            found = self._known[camera_id] = tuple(named.values())
        return found
