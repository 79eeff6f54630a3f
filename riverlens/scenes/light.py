"""The hours of the street: how bright, which colours, whether the lamps are lit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from riverlens.scenes.dice import Dice

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Light:
    """One lighting. `tint` multiplies the colours of everything that does not shine by itself.

    `cloud`, `haze` and `shadow` are strengths from 0 to 1; `lit` is the share of windows that shine.
    """

    name: str
    sky_top: Colour
    sky_low: Colour
    cloud_colour: Colour
    tint: tuple[float, float, float]
    cloud: float
    haze: float
    shadow: float
    lit: float
    lamps: bool = False


LIGHTS: Final[tuple[Light, ...]] = (
    Light("noon", (78, 146, 216), (200, 226, 243), (255, 255, 255), (1.0, 1.0, 1.0), 0.75, 0.10, 0.5, 0.0),
    Light(
        "morning", (112, 164, 214), (250, 228, 198), (255, 246, 232), (1.0, 0.95, 0.87), 0.6, 0.2, 0.42, 0.05
    ),
    Light(
        "overcast", (150, 162, 174), (206, 212, 216), (226, 230, 234), (0.86, 0.89, 0.93), 0.9, 0.26, 0.2, 0.1
    ),
    Light(
        "sunset",
        (74, 84, 142),
        (250, 166, 104),
        (255, 190, 150),
        (0.90, 0.73, 0.63),
        0.7,
        0.2,
        0.3,
        0.35,
        lamps=True,
    ),
    Light(
        "dusk",
        (28, 36, 78),
        (146, 106, 132),
        (110, 96, 136),
        (0.56, 0.55, 0.72),
        0.6,
        0.15,
        0.2,
        0.5,
        lamps=True,
    ),
    Light(
        "night",
        (10, 14, 34),
        (40, 46, 78),
        (44, 50, 76),
        (0.42, 0.44, 0.58),
        0.4,
        0.08,
        0.15,
        0.5,
        lamps=True,
    ),
)


def roll_light(dice: Dice) -> Light:
    """A lighting for one street: most are by day, and no two have quite the same tint."""
    light = dice.pick((*LIGHTS[:3], *LIGHTS))
    warm = dice.between(-0.05, 0.05)
    level = dice.between(0.92, 1.04)
    red, green, blue = light.tint
    return replace(light, tint=(red * level * (1 + warm), green * level, blue * level * (1 - warm)))


def tinted(colour: Colour, light: Light) -> Colour:
    """`colour` as it looks in `light`."""
    red, green, blue = (min(255, int(part * by)) for part, by in zip(colour, light.tint, strict=True))
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` (0 to 1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shaded(colour: Colour, by: float) -> Colour:
    """`colour` made darker (`by` below 0) or lighter (above 0), -1 being black and 1 white."""
    return mixed(colour, (255, 255, 255) if by > 0 else (0, 0, 0), abs(by))
