"""Cars from the side: five bodies, any colour, lamps lit after sunset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from riverlens.scenes.brush import Canvas, Point, Sprite, glowing, grounded, smooth
from riverlens.scenes.light import Colour, Light, mixed, shaded

if TYPE_CHECKING:
    from riverlens.scenes.dice import Dice

_PAINTS: Final[tuple[Colour, ...]] = (
    (196, 32, 38), (226, 228, 230), (38, 42, 50), (120, 128, 138), (34, 84, 168), (226, 170, 36), (36, 116, 92),
    (90, 36, 44), (168, 196, 214), (222, 108, 44), (64, 72, 84), (206, 190, 160), (110, 160, 60), (176, 178, 184),
)  # fmt: skip
_TYRE: Final[Colour] = (30, 30, 33)
_GLASS_TOP: Final[Colour] = (150, 182, 204)
_GLASS_LOW: Final[Colour] = (44, 60, 78)


@dataclass(frozen=True, slots=True)
class _Body:
    """One kind of car facing right, in metres: the curve of its body, of its cabin, and its windows."""

    length: float
    wheels: tuple[float, float]
    wheel: float
    body: tuple[Point, ...]
    cabin: tuple[Point, ...]
    windows: tuple[tuple[Point, ...], ...]
    belt: float


_SEDAN: Final = _Body(
    4.6, (-1.38, 1.42), 0.33,
    ((-2.2, 0.26), (-2.3, 0.5), (-2.26, 0.86), (-1.75, 0.95), (0.0, 0.97), (1.1, 0.93), (1.95, 0.8), (2.28, 0.6),
     (2.3, 0.36), (2.15, 0.24), (0.0, 0.22)),
    ((-1.72, 0.92), (-1.05, 1.33), (-0.35, 1.44), (0.3, 1.38), (0.72, 1.16), (1.16, 0.92), (0.0, 0.86)),
    (((-1.4, 0.98), (-0.95, 1.28), (-0.3, 1.36), (-0.3, 0.98)), ((-0.2, 0.98), (-0.2, 1.36), (0.26, 1.3), (0.9, 0.98))),
    0.9,
)  # fmt: skip
_HATCH: Final = _Body(
    3.9, (-1.18, 1.2), 0.32,
    ((-1.85, 0.26), (-1.93, 0.55), (-1.86, 0.95), (-1.3, 1.0), (0.0, 1.0), (0.95, 0.97), (1.6, 0.84), (1.92, 0.6),
     (1.95, 0.36), (1.8, 0.24), (0.0, 0.22)),
    ((-1.86, 0.92), (-1.62, 1.34), (-0.9, 1.52), (-0.1, 1.5), (0.42, 1.34), (1.02, 0.96), (0.0, 0.9)),
    (((-1.56, 1.02), (-1.4, 1.3), (-0.86, 1.43), (-0.44, 1.43), (-0.44, 1.02)),
     ((-0.34, 1.02), (-0.34, 1.43), (0.0, 1.4), (0.78, 1.02))),
    0.95,
)  # fmt: skip
_SUV: Final = _Body(
    4.5, (-1.36, 1.4), 0.38,
    ((-2.15, 0.34), (-2.24, 0.7), (-2.18, 1.08), (-1.6, 1.12), (0.0, 1.12), (1.1, 1.1), (1.9, 1.0), (2.2, 0.76),
     (2.24, 0.44), (2.1, 0.32), (0.0, 0.3)),
    ((-2.16, 1.04), (-2.0, 1.56), (-1.3, 1.74), (-0.2, 1.74), (0.4, 1.58), (1.02, 1.08), (0.0, 1.02)),
    (((-1.96, 1.14), (-1.84, 1.5), (-1.3, 1.63), (-1.1, 1.63), (-1.1, 1.14)),
     ((-1.0, 1.14), (-1.0, 1.63), (-0.34, 1.63), (-0.34, 1.14)),
     ((-0.24, 1.14), (-0.24, 1.63), (0.02, 1.6), (0.82, 1.14))),
    1.06,
)  # fmt: skip
_VAN: Final = _Body(
    4.9, (-1.5, 1.58), 0.35,
    ((-2.4, 0.28), (-2.46, 0.9), (-2.42, 1.9), (-1.9, 2.0), (0.6, 1.99), (1.16, 1.8), (1.72, 1.2), (2.3, 1.02),
     (2.46, 0.66), (2.42, 0.34), (2.1, 0.26), (0.0, 0.26)),
    ((0.3, 1.2), (0.4, 1.8), (0.9, 1.8), (1.2, 1.56), (1.5, 1.2)),
    (((0.34, 1.22), (0.34, 1.74), (0.98, 1.74), (1.52, 1.22)),),
    1.08,
)  # fmt: skip
_COUPE: Final = _Body(
    4.3, (-1.3, 1.34), 0.34,
    ((-2.05, 0.24), (-2.14, 0.5), (-2.1, 0.84), (-1.5, 0.92), (0.0, 0.88), (1.2, 0.82), (1.85, 0.68), (2.12, 0.5),
     (2.14, 0.32), (2.0, 0.22), (0.0, 0.2)),
    ((-2.02, 0.84), (-1.3, 1.14), (-0.5, 1.29), (0.1, 1.24), (0.56, 1.02), (1.0, 0.82), (0.0, 0.8)),
    (((-1.3, 0.9), (-1.0, 1.1), (-0.5, 1.21), (-0.3, 1.21), (-0.3, 0.9)), ((-0.2, 0.9), (-0.2, 1.21), (0.08, 1.17), (0.72, 0.9))),
    0.82,
)  # fmt: skip
_KINDS: Final = (_SEDAN, _HATCH, _SUV, _HATCH, _VAN, _SEDAN, _COUPE)


def car_sprite(dice: Dice, per_m: float, light: Light, *, to_left: bool) -> Sprite:
    """A car at `per_m` pixels a metre, facing right or left."""
    kind = dice.pick(_KINDS)
    paint = shaded(dice.pick(_PAINTS), dice.between(-0.12, 0.12))
    canvas = Canvas(kind.length + 0.5, 2.2, per_m)
    _draw_body(canvas, kind, paint)
    taxi = kind is _SEDAN and dice.chance(0.25)
    if taxi:
        canvas.shape([(-0.42, 1.4), (-0.38, 1.56), (-0.02, 1.56), (0.02, 1.4)], (250, 222, 90))
    _draw_details(canvas, kind, paint, lamps=light.lamps)
    for x in kind.wheels:
        _draw_wheel(canvas, x, kind.wheel, turn=dice.between(0, 1))
    sprite = canvas.finish(tint=_car_tint(light), mirrored=to_left)
    sprite = grounded(sprite, 0.35 + 0.45 * light.shadow, width_share=0.98, flat=0.07)
    return _with_lamps(sprite, kind, per_m, to_left=to_left) if light.lamps else sprite


def _car_tint(light: Light) -> tuple[float, float, float]:
    # Paint keeps a little of the sky's light, or cars at night are holes in the picture.
    red, green, blue = (min(1.05, 0.12 + 0.9 * part) for part in light.tint)
    return red, green, blue


def _draw_body(canvas: Canvas, kind: _Body, paint: Colour) -> None:
    canvas.graded(smooth(kind.cabin), shaded(paint, 0.3), shaded(paint, -0.1))
    canvas.graded(smooth(kind.body), shaded(paint, 0.25), shaded(paint, -0.45))
    for window in kind.windows:
        canvas.graded(window, _GLASS_TOP, _GLASS_LOW)
    low, high = kind.windows[-1][0], kind.windows[-1][1]
    reach = (high[1] - low[1]) * 0.5
    glare = [
        (low[0] + 0.08, low[1]),
        (low[0] + 0.08 + reach, high[1] - 0.02),
        (low[0] + 0.2 + reach, high[1] - 0.02),
        (low[0] + 0.24, low[1]),
    ]
    canvas.shape(glare, mixed(_GLASS_TOP, (255, 255, 255), 0.35))


def _draw_details(canvas: Canvas, kind: _Body, paint: Colour, *, lamps: bool) -> None:
    half, belt = kind.length / 2, kind.belt
    dark = shaded(paint, -0.5)
    canvas.limb([(-half + 0.2, belt - 0.1), (half - 0.55, belt - 0.16)], 0.025, shaded(paint, 0.45))
    for window in kind.windows:
        x = window[0][0] + 0.05
        canvas.limb([(x, belt), (x + 0.03, 0.34)], 0.02, dark)
        canvas.limb([(x + 0.1, belt - 0.18), (x + 0.28, belt - 0.18)], 0.035, dark)
    canvas.shape(
        [(-half + 0.2, 0.34), (half - 0.2, 0.34), (half - 0.25, 0.24), (-half + 0.25, 0.24)],
        shaded(paint, -0.62),
    )
    front = (255, 246, 200) if lamps else (226, 232, 236)
    rear = (255, 52, 44) if lamps else (172, 26, 30)
    nose, tail = max(p[0] for p in kind.body), min(p[0] for p in kind.body)
    canvas.oval(nose - 0.19, belt - 0.28, 0.15, 0.08, front)
    canvas.oval(tail + 0.14, belt - 0.2, 0.1, 0.11, rear)


def _draw_wheel(canvas: Canvas, x: float, radius: float, *, turn: float) -> None:
    canvas.oval(x, radius + 0.02, radius + 0.07, radius + 0.07, (16, 16, 18))
    canvas.oval(x, radius, radius, radius, _TYRE)
    canvas.oval(x, radius, radius * 0.66, radius * 0.66, (176, 180, 186))
    canvas.oval(x, radius, radius * 0.55, radius * 0.55, (112, 116, 124))
    for spoke in range(5):
        angle = (turn + spoke) * 1.2566
        reach = (radius * 0.58 * math.cos(angle), radius * 0.58 * math.sin(angle))
        canvas.limb([(x, radius), (x + reach[0], radius + reach[1])], radius * 0.16, (186, 190, 196))
    canvas.oval(x, radius, radius * 0.14, radius * 0.14, (90, 94, 100))


def _with_lamps(sprite: Sprite, kind: _Body, per_m: float, *, to_left: bool) -> Sprite:
    way = -1 if to_left else 1
    nose = max(p[0] for p in kind.body) - 0.19
    tail = min(p[0] for p in kind.body) + 0.14
    x, y = sprite.foot
    height = round((kind.belt - 0.28) * per_m)
    lit = glowing(
        sprite, (x + round(way * nose * per_m), y - height), round(0.7 * per_m), (255, 240, 190), 0.9
    )
    return glowing(lit, (x + round(way * tail * per_m), y - height), round(0.45 * per_m), (255, 50, 40), 0.7)
