"""Which part of a picture is shown, and how large. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIXELS = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")
_FORMS = (
    "must be X1,Y1,X2,Y2 in parts of the picture, as in 0.25,0,0.75,1, or WIDTHxHEIGHT+LEFT+TOP in pixels, "
    "as in 640x480+100+0"
)

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_MIN_PIXELS = 16

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; x2 and y2 are outside."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the upright picture: x1, y1, x2, y2 as parts of its sides, or in pixels."""

    box: tuple[float, float, float, float]
    pixels: bool = False

    def within(self, width: int, height: int) -> Box | None:
        """The region in a picture of this size, cut off at its edges; None where nothing is left."""
        across, down = (1, 1) if self.pixels else (width, height)
        x1, x2 = (min(width, round(value * across)) for value in self.box[::2])
        y1, y2 = (min(height, round(value * down)) for value in self.box[1::2])
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def parse_region(text: str) -> Region:
    """`0.25,0,0.75,1` or `640x480+100+0`.

    Raises:
        ValueError: neither form, or nothing inside.
    """
    match = _PIXELS.fullmatch(text.strip())
    if match:
        width, height, left, top = map(int, match.groups())
        if not (width and height):
            raise ValueError(_FORMS)
        return Region((left, top, left + width, top + height), pixels=True)
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(_FORMS) from None
    if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
        raise ValueError(_FORMS)
    return Region((x1, y1, x2, y2))


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` -> (640, 480), in pixels.

    Raises:
        ValueError: not WIDTHxHEIGHT, or a side below 16 pixels.
    """
    match = _SIZE.fullmatch(text)
    if match is None or min(map(int, match.groups())) < _MIN_PIXELS:
        raise ValueError(f"must be WIDTHxHEIGHT in pixels, each at least {_MIN_PIXELS}, as in 640x480")
    return int(match[1]), int(match[2])


def fit(width: int, height: int, limit: tuple[int, int] | None) -> tuple[int, int]:
    """The largest size of the same shape inside `limit` (width, height), never larger than it is."""
    if limit is None:
        return width, height
    scale = min(1.0, limit[0] / width, limit[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class View:
    """How to make a picture of another: scale all of it, then cut out `box`, if there is one."""

    width: int
    height: int
    box: Box | None


def view(width: int, height: int, region: Region | None, limit: tuple[int, int] | None) -> View | None:
    """The view of an upright picture that shows `region` inside `limit`; None where the region is off it."""
    if region is None:
        return View(*fit(width, height, limit), None)
    box = region.within(width, height)
    if box is None:
        return None
    inner_width, inner_height = box[2] - box[0], box[3] - box[1]
    fitted_width, fitted_height = fit(inner_width, inner_height, limit)
    across, down = fitted_width / inner_width, fitted_height / inner_height
    full_width, full_height = max(1, round(width * across)), max(1, round(height * down))
    left = min(round(box[0] * across), full_width - fitted_width)
    top = min(round(box[1] * down), full_height - fitted_height)
    return View(full_width, full_height, (left, top, left + fitted_width, top + fitted_height))
