"""People walking or waiting, from the side, and the riders of the bicycles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from riverlens.scenes.brush import Canvas, Point, Sprite, grounded, smooth
from riverlens.scenes.light import Colour, Light, shaded

if TYPE_CHECKING:
    from riverlens.scenes.dice import Dice

SKINS: Final[tuple[Colour, ...]] = (
    (244, 208, 178),
    (226, 178, 140),
    (186, 132, 96),
    (134, 88, 62),
    (92, 60, 44),
)
HAIRS: Final[tuple[Colour, ...]] = (
    (36, 28, 24),
    (74, 50, 34),
    (134, 92, 52),
    (206, 172, 112),
    (150, 148, 148),
    (110, 46, 26),
)
TOPS: Final[tuple[Colour, ...]] = (
    (206, 52, 52), (48, 92, 170), (242, 240, 234), (48, 50, 58), (232, 176, 60), (66, 138, 98), (146, 86, 158),
    (232, 128, 92), (118, 150, 180), (176, 156, 126), (86, 96, 64), (230, 150, 180),
)  # fmt: skip
LEGS: Final[tuple[Colour, ...]] = (
    (44, 54, 82),
    (36, 36, 42),
    (96, 88, 78),
    (74, 96, 134),
    (186, 172, 146),
    (62, 64, 60),
)
STEPS: Final = 8
"""Pictures in one walking or pedalling cycle."""


@dataclass(frozen=True, slots=True)
class Clothes:
    """How one person looks; `build` scales the width, `height` is in metres."""

    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    build: float
    height: float
    long_hair: bool
    skirt: bool
    bag: Colour | None
    hat: bool


def roll_clothes(dice: Dice) -> Clothes:
    """A person nobody has seen before."""
    child = dice.chance(0.08)
    return Clothes(
        skin=dice.pick(SKINS),
        hair=dice.pick(HAIRS),
        top=shaded(dice.pick(TOPS), dice.between(-0.15, 0.15)),
        legs=dice.pick(LEGS),
        build=dice.between(0.9, 1.2),
        height=dice.between(1.15, 1.4) if child else dice.between(1.56, 1.9),
        long_hair=dice.chance(0.4),
        skirt=dice.chance(0.2),
        bag=dice.pick(TOPS) if dice.chance(0.4) else None,
        hat=dice.chance(0.15),
    )


def person_sprite(clothes: Clothes, step: int | None, per_m: float, light: Light, *, to_left: bool) -> Sprite:
    """A person in the `step`-th of `STEPS` pictures of a walk, or standing (None)."""
    per_m = per_m * clothes.height / 1.75
    canvas = Canvas(1.3, 1.95, per_m)
    swing = 0.0 if step is None else math.sin(2 * math.pi * step / STEPS)
    lift = 0.0 if step is None else 0.03 * abs(math.cos(2 * math.pi * step / STEPS))
    _draw_leg(canvas, clothes, -swing, lift, shade=-0.25)
    _draw_arm(canvas, clothes, swing, lift, shade=-0.25)
    _draw_leg(canvas, clothes, swing, lift, shade=0.0)
    _draw_torso(canvas, clothes, lift)
    draw_head(canvas, clothes, (0.03, 1.6 + lift))
    _draw_arm(canvas, clothes, -swing, lift, shade=0.06)
    sprite = canvas.finish(tint=light.tint, mirrored=to_left)
    return grounded(sprite, 0.3 + 0.4 * light.shadow, width_share=0.55, flat=0.16)


def _draw_leg(canvas: Canvas, clothes: Clothes, swing: float, lift: float, *, shade: float) -> None:
    hip = (0.0, 0.9 + lift)
    angle = 0.48 * swing
    bend = angle - (0.55 if swing < 0 else 0.1) * abs(swing)
    knee = (hip[0] + 0.44 * math.sin(angle) + 0.02, hip[1] - 0.44 * math.cos(angle))
    ankle = (knee[0] + 0.42 * math.sin(bend), max(0.06, knee[1] - 0.42 * math.cos(bend)))
    colour = shaded(clothes.legs, shade)
    bare = shaded(clothes.skin, shade) if clothes.skirt else colour
    canvas.limb([hip, knee], 0.17 * clothes.build, colour)
    canvas.limb([knee, ankle], 0.12 * clothes.build, bare)
    canvas.limb([(ankle[0] - 0.03, ankle[1] - 0.02), (ankle[0] + 0.15, ankle[1] - 0.03)], 0.08, (36, 32, 32))


def _draw_arm(canvas: Canvas, clothes: Clothes, swing: float, lift: float, *, shade: float) -> None:
    shoulder = (0.0, 1.38 + lift)
    angle = 0.5 * swing
    elbow = (shoulder[0] + 0.27 * math.sin(angle), shoulder[1] - 0.27 * math.cos(angle))
    hand = (elbow[0] + 0.25 * math.sin(angle + 0.3), elbow[1] - 0.25 * math.cos(angle + 0.3))
    canvas.limb([shoulder, elbow, hand], 0.1 * clothes.build, shaded(clothes.top, -0.12 + shade))
    canvas.oval(hand[0], hand[1], 0.05, 0.05, shaded(clothes.skin, shade))
    if clothes.bag and shade > 0:
        left, top = hand[0], hand[1]
        canvas.shape(
            [
                (left - 0.13, top - 0.08),
                (left + 0.13, top - 0.08),
                (left + 0.16, top - 0.34),
                (left - 0.16, top - 0.34),
            ],
            clothes.bag,
        )


def _draw_torso(canvas: Canvas, clothes: Clothes, lift: float) -> None:
    wide = 0.2 * clothes.build
    points: list[Point] = [
        (-0.08, 1.5), (0.08, 1.5), (wide * 0.95, 1.38), (wide * 0.9, 1.1), (wide * 0.8, 0.86), (-wide * 0.8, 0.86),
        (-wide * 0.95, 1.1), (-wide, 1.38),
    ]  # fmt: skip
    canvas.graded(
        smooth([(x, y + lift) for x, y in points]), shaded(clothes.top, 0.15), shaded(clothes.top, -0.25)
    )
    if clothes.skirt:
        hem: list[Point] = [(-0.15, 0.95), (0.15, 0.95), (0.27, 0.52), (-0.25, 0.52)]
        canvas.graded([(x, y + lift) for x, y in hem], clothes.legs, shaded(clothes.legs, -0.2))


def draw_head(canvas: Canvas, clothes: Clothes, at: Point) -> None:
    """The head of a person looking right, its middle at `at`, with neck, hair and perhaps a hat."""
    x, y = at
    canvas.limb([(x - 0.03, y - 0.18), (x - 0.01, y - 0.05)], 0.1, shaded(clothes.skin, -0.15))
    if clothes.long_hair:
        canvas.oval(x - 0.06, y - 0.08, 0.1, 0.18, shaded(clothes.hair, -0.1))
    canvas.oval(x - 0.02, y + 0.02, 0.125, 0.14, clothes.hair)
    canvas.oval(x + 0.025, y - 0.02, 0.095, 0.115, clothes.skin)
    canvas.oval(x - 0.03, y + 0.085, 0.1, 0.06, clothes.hair)
    if clothes.hat:
        canvas.oval(x - 0.01, y + 0.09, 0.12, 0.08, clothes.top)
        canvas.limb([(x, y + 0.07), (x + 0.16, y + 0.06)], 0.035, shaded(clothes.top, -0.2))
