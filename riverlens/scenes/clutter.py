"""Things that stand about and hide others: signs, bins, bushes, posts, hydrants. They have no truth."""

from __future__ import annotations

from riverlens.scenes.brush import Canvas, Sprite, grounded, smooth
from riverlens.scenes.dice import Dice
from riverlens.scenes.light import Light, shaded

_METAL = (110, 114, 120)


def clutter_sprite(dice: Dice, per_m: float, light: Light) -> Sprite:
    """One thing at `per_m` pixels a metre."""
    draw = dice.pick((_bin, _sign, _bush, _post, _hydrant, _box))
    canvas = Canvas(2.0, 3.2, per_m)
    draw(canvas, dice)
    return grounded(canvas.finish(tint=light.tint), 0.2 + 0.3 * light.shadow, width_share=0.35, flat=0.2)


def _bin(canvas: Canvas, dice: Dice) -> None:
    colour = dice.pick(((60, 92, 70), (70, 74, 84), (120, 96, 60)))
    canvas.graded(
        [(-0.28, 0), (-0.33, 0.95), (0.33, 0.95), (0.28, 0)], shaded(colour, 0.2), shaded(colour, -0.3)
    )
    canvas.limb([(-0.36, 0.98), (0.36, 0.98)], 0.1, shaded(colour, -0.4))


def _sign(canvas: Canvas, dice: Dice) -> None:
    canvas.limb([(0, 0), (0, 2.3)], 0.07, _METAL)
    colour = dice.pick(((200, 40, 44), (36, 88, 170), (236, 190, 40)))
    if dice.chance(0.5):
        canvas.oval(0, 2.4, 0.33, 0.33, (240, 240, 236))
        canvas.oval(0, 2.4, 0.28, 0.28, colour)
        canvas.limb([(-0.15, 2.4), (0.15, 2.4)], 0.08, (240, 240, 236))
    else:
        canvas.shape([(-0.38, 2.1), (0, 2.75), (0.38, 2.1)], colour)
        canvas.shape([(-0.24, 2.18), (0, 2.58), (0.24, 2.18)], (244, 240, 226))


def _bush(canvas: Canvas, dice: Dice) -> None:
    colour = dice.pick(((66, 112, 60), (92, 128, 66), (48, 90, 54)))
    for _ in range(16):
        x, y, r = dice.between(-0.7, 0.7), dice.between(0.15, 0.85), dice.between(0.15, 0.3)
        canvas.oval(x, y, r, r, shaded(colour, dice.between(-0.3, 0.2)))


def _post(canvas: Canvas, dice: Dice) -> None:
    canvas.limb([(0, 0), (0, 2.9)], dice.between(0.1, 0.18), shaded(_METAL, -0.3))
    canvas.limb([(0, 2.9), (0.5, 2.95)], 0.1, shaded(_METAL, -0.3))


def _hydrant(canvas: Canvas, dice: Dice) -> None:
    colour = dice.pick(((196, 52, 44), (230, 180, 50)))
    canvas.graded(
        smooth([(-0.15, 0), (-0.16, 0.5), (0, 0.68), (0.16, 0.5), (0.15, 0)]),
        shaded(colour, 0.2),
        shaded(colour, -0.3),
    )
    canvas.limb([(-0.24, 0.4), (0.24, 0.4)], 0.12, shaded(colour, -0.15))


def _box(canvas: Canvas, dice: Dice) -> None:
    colour = dice.pick(((150, 150, 146), (94, 104, 112), (132, 120, 100)))
    wide, high = dice.between(0.3, 0.7), dice.between(0.8, 1.5)
    canvas.graded(
        [(-wide, 0), (-wide, high), (wide, high), (wide, 0)], shaded(colour, 0.15), shaded(colour, -0.25)
    )
    canvas.limb([(0, 0.1), (0, high - 0.1)], 0.03, shaded(colour, -0.4))
