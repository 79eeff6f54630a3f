"""Bicycles, ridden or parked. The rider belongs to the bicycle: one outline, one box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from riverlens.scenes.brush import Canvas, Point, Sprite, glowing, grounded, smooth
from riverlens.scenes.light import Colour, Light, shaded
from riverlens.scenes.people import STEPS, Clothes, draw_head

if TYPE_CHECKING:
    from riverlens.scenes.dice import Dice

_FRAMES: Final[tuple[Colour, ...]] = (
    (196, 40, 44),
    (36, 96, 176),
    (34, 36, 40),
    (236, 236, 230),
    (54, 140, 110),
    (232, 160, 40),
)
_WHEEL: Final = 0.345
_REAR, _FRONT = (-0.52, _WHEEL), (0.55, _WHEEL)
_CRANK: Final[Point] = (-0.06, 0.29)
_SADDLE: Final[Point] = (-0.22, 0.9)
_BARS: Final[Point] = (0.4, 1.02)


def bicycle_colour(dice: Dice) -> Colour:
    """The paint of a frame."""
    return dice.pick(_FRAMES)


def bicycle_sprite(
    paint: Colour, rider: Clothes | None, step: int, per_m: float, light: Light, *, to_left: bool
) -> Sprite:
    """A bicycle in the `step`-th of `STEPS` pictures of a turn of its pedals; `rider` None is a parked one."""
    canvas = Canvas(2.1, 1.95 if rider else 1.2, per_m)
    turn = 2 * math.pi * step / STEPS
    if rider:
        _draw_rider_leg(canvas, rider, turn + math.pi, shade=-0.3)
    for wheel in (_REAR, _FRONT):
        _draw_wheel(canvas, wheel, turn)
    _draw_frame(canvas, paint, turn)
    if rider:
        _draw_rider_leg(canvas, rider, turn, shade=0.0)
        _draw_rider(canvas, rider)
    sprite = grounded(
        canvas.finish(tint=light.tint, mirrored=to_left),
        0.25 + 0.4 * light.shadow,
        width_share=0.8,
        flat=0.06,
    )
    if not (light.lamps and rider):
        return sprite
    way = -1 if to_left else 1
    at = (sprite.foot[0] + round(way * 0.5 * per_m), sprite.foot[1] - round(0.9 * per_m))
    return glowing(sprite, at, round(0.4 * per_m), (255, 244, 210), 0.9)


def _draw_wheel(canvas: Canvas, at: Point, turn: float) -> None:
    x, y = at
    for spoke in range(6):
        angle = spoke * math.pi / 6 - turn
        reach = (math.cos(angle) * _WHEEL * 0.95, math.sin(angle) * _WHEEL * 0.95)
        canvas.limb([(x - reach[0], y - reach[1]), (x + reach[0], y + reach[1])], 0.008, (150, 152, 156))
    canvas.ring(x, y, _WHEEL, 0.055, (26, 26, 28))
    canvas.ring(x, y, _WHEEL - 0.05, 0.02, (170, 172, 176))
    canvas.oval(x, y, 0.04, 0.04, (90, 92, 96))


def _draw_frame(canvas: Canvas, paint: Colour, turn: float) -> None:
    head, seat = (0.36, 0.82), (-0.2, 0.8)
    canvas.limb([_REAR, _CRANK], 0.035, shaded(paint, -0.2))
    canvas.limb([_REAR, seat], 0.03, shaded(paint, -0.2))
    canvas.limb([seat, _CRANK, head, seat], 0.05, paint)
    canvas.limb([_FRONT, head, (0.33, 0.98)], 0.045, paint)
    canvas.limb([(0.3, 1.0), _BARS, (0.46, 0.96)], 0.035, (40, 40, 44))
    canvas.limb([seat, (-0.22, 0.88)], 0.03, (60, 60, 64))
    canvas.limb([(-0.34, 0.91), (-0.12, 0.9)], 0.07, (34, 32, 32))
    canvas.ring(*_CRANK, 0.1, 0.03, (120, 122, 126))
    for half in (0.0, math.pi):
        pedal = _pedal(turn + half)
        canvas.limb([_CRANK, pedal], 0.03, (70, 72, 76))
        canvas.limb([(pedal[0] - 0.05, pedal[1]), (pedal[0] + 0.05, pedal[1])], 0.03, (30, 30, 32))


def _pedal(turn: float) -> Point:
    return _CRANK[0] + 0.17 * math.cos(-turn), _CRANK[1] + 0.17 * math.sin(-turn)


def _draw_rider_leg(canvas: Canvas, rider: Clothes, turn: float, *, shade: float) -> None:
    hip = (_SADDLE[0] + 0.02, _SADDLE[1] + 0.08)
    foot_x, foot_y = _pedal(turn)
    ankle = (foot_x - 0.03, foot_y + 0.09)
    knee = _joint(hip, ankle, 0.45)
    canvas.limb([hip, knee], 0.16 * rider.build, shaded(rider.legs, shade))
    canvas.limb([knee, ankle], 0.11 * rider.build, shaded(rider.legs, shade - 0.05))
    canvas.limb([(ankle[0] - 0.02, foot_y + 0.04), (ankle[0] + 0.16, foot_y + 0.03)], 0.08, (34, 32, 34))


def _joint(start: Point, end: Point, reach: float) -> Point:
    """Where two bones of length `reach` between `start` and `end` meet, bent forward."""
    across, up = end[0] - start[0], end[1] - start[1]
    apart = min(math.hypot(across, up), 2 * reach - 0.01)
    out = math.sqrt(reach**2 - (apart / 2) ** 2)
    return start[0] + across / 2 - up / apart * out, start[1] + up / 2 + across / apart * out


def _draw_rider(canvas: Canvas, rider: Clothes) -> None:
    wide = 0.17 * rider.build
    back: list[Point] = [
        (-0.34, 1.0), (-0.1 - wide, 1.24), (0.02, 1.46), (0.16, 1.42), (0.1, 1.2), (-0.04, 0.98), (-0.2, 0.92),
    ]  # fmt: skip
    canvas.graded(smooth(back), shaded(rider.top, 0.15), shaded(rider.top, -0.2))
    if rider.bag:
        canvas.graded(
            smooth([(-0.3, 1.12), (-0.2, 1.4), (-0.04, 1.42), (-0.12, 1.14)]),
            rider.bag,
            shaded(rider.bag, -0.3),
        )
    elbow = (0.26, 1.14)
    canvas.limb([(0.1, 1.38), elbow, _BARS], 0.09 * rider.build, shaded(rider.top, -0.15))
    canvas.oval(_BARS[0], _BARS[1], 0.05, 0.05, rider.skin)
    draw_head(canvas, rider, (0.19, 1.62))
    if not rider.hat:
        canvas.graded(
            smooth([(0.05, 1.66), (0.1, 1.78), (0.24, 1.78), (0.32, 1.67)]),
            shaded(rider.bag or rider.top, 0.2),
            (40, 40, 46),
        )
