"""How a street lies before its camera: horizon, pavements, road, and who is in it."""

from __future__ import annotations

from dataclasses import dataclass

from riverlens.scenes.dice import Dice

_KINDS = (
    "car",
    "car",
    "car",
    "person",
    "person",
    "person",
    "person",
    "bicycle",
    "bicycle",
    "clutter",
    "clutter",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows of the picture, in pixels from the top, from far to near.

    Attributes:
        horizon: where the ground would end.
        walls, far_kerb, near_kerb: foot of the houses, edges of the road.
        scale: pixels a metre for each pixel below the horizon.
        kinds: what is cast: car, person, bicycle, clutter.
        blur_px: radius of the lens's blur.
    """

    width: int
    height: int
    horizon: float
    walls: float
    far_kerb: float
    near_kerb: float
    scale: float
    kinds: tuple[str, ...]
    blur_px: float

    def per_m(self, foot_y: float) -> float:
        """Pixels a metre for a thing whose feet are at this row."""
        return max(2.0, (foot_y - self.horizon) * self.scale)

    def road_y(self, share: float) -> float:
        """A row of the road, 0 the far edge, 1 the near one."""
        margin = 0.08 * (self.near_kerb - self.far_kerb)
        return self.far_kerb + margin + share * (self.near_kerb - self.far_kerb - margin)

    def walk_y(self, share: float) -> float:
        """A row of the far pavement (below 0.4) or of the near one."""
        split = 0.4
        if share < split:
            return self.walls + 2 + share / split * (self.far_kerb - self.walls - 3)
        return self.near_kerb + (share - split) / (1 - split) * (self.height * 0.99 - self.near_kerb)


def roll_plan(dice: Dice, width: int, height: int) -> Plan:
    """A street nobody has seen before."""
    horizon = height * dice.between(0.2, 0.31)
    walls = horizon + height * dice.between(0.2, 0.26)
    far_kerb = walls + height * dice.between(0.06, 0.1)
    near_kerb = height * dice.between(0.8, 0.9)
    per_m_near = height * dice.between(0.15, 0.21)
    return Plan(
        width=width,
        height=height,
        horizon=horizon,
        walls=walls,
        far_kerb=far_kerb,
        near_kerb=near_kerb,
        scale=per_m_near / (height - horizon),
        kinds=tuple(dice.pick(_KINDS) for _ in range(dice.whole(6, 15))),
        blur_px=dice.pick((0.0, 0.0, 0.4, 0.7)) * height / 480,
    )
