"""A street before one camera: drawn once, then cheap to show at any moment.

Everything is fixed by the camera's name and the picture's size; a moment is fixed by the sequence. Things
stand on the ground: how far down the picture their feet are says how large they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageFilter

from riverlens.scenes.background import draw_background
from riverlens.scenes.bicycles import bicycle_colour, bicycle_sprite
from riverlens.scenes.brush import Sprite
from riverlens.scenes.cars import car_sprite
from riverlens.scenes.clutter import clutter_sprite
from riverlens.scenes.dice import Dice
from riverlens.scenes.light import roll_light
from riverlens.scenes.people import STEPS, person_sprite, roll_clothes
from riverlens.scenes.plan import roll_plan
from riverlens.scenes.truth import Label, Scene, SceneObject

FRAMES_PER_S = 10.0
"""How fast a street's time passes: one sequence number is a tenth of a second."""
_GRAIN_FIELDS = 4


@dataclass(frozen=True, slots=True)
class _Actor:
    """One thing in the street. `label` None is clutter: it hides others and has no truth.

    `speed_px`, a frame, is 0 for what stands; the thing comes back on the other side after `span_px`.
    """

    label: Label | None
    foot_y: float
    start_px: float
    speed_px: float
    span_px: float
    pictures: tuple[Sprite, ...]

    def at(self, sequence: int) -> tuple[Sprite, int, int]:
        """Its sprite and the pixel of the sprite's left upper corner at a moment."""
        sprite = self.pictures[sequence % len(self.pictures)]
        x = self.start_px
        if self.speed_px:
            x = (self.start_px + self.speed_px * sequence) % self.span_px - (self.span_px - self._width()) / 2
        return sprite, round(x) - sprite.foot[0], round(self.foot_y) - sprite.foot[1]

    def _width(self) -> float:
        return self.span_px - 2 * max(sprite.image.width for sprite in self.pictures)


class Street:
    """The street before one camera.

    Args:
        camera: any name; another name is another street.
        width, height: the picture's size in pixels.
    """

    def __init__(self, camera: str, width: int, height: int) -> None:
        self._size = (width, height)
        self._name = camera
        dice = Dice(camera, "street")
        self._light = roll_light(dice)
        self._plan = roll_plan(dice, width, height)

    def frame(self, sequence: int) -> Scene:
        """The picture of a moment, uint8 [height, width, 3], and what is in it."""
        picture = self._background.copy()
        for actor in self._actors:
            sprite, left, top = actor.at(sequence)
            picture.paste(sprite.image, (left, top), sprite.image)
        return Scene(self._through_the_lens(picture, sequence), self.truth(sequence))

    def truth(self, sequence: int) -> tuple[SceneObject, ...]:
        """What is in the picture of a moment, the farthest first; no pixel is drawn for it."""
        width, height = self._size
        taken = np.zeros((height, width), bool)
        found: list[SceneObject] = []
        # From the nearest to the farthest: what is taken already hides what comes later.
        for actor in reversed(self._actors):
            sprite, left, top = actor.at(sequence)
            inside = _Window.of(sprite, left, top, width, height)
            if inside is None:
                continue
            outline = sprite.outline[inside.sprite]
            free = outline & ~taken[inside.picture]
            taken[inside.picture] |= outline
            if actor.label is not None and outline.any():
                whole = int(sprite.outline.sum())
                found.append(_object(actor.label, outline, inside, self._size, free.sum() / whole))
        return tuple(reversed(found))

    @cached_property
    def _background(self) -> Image.Image:
        return draw_background(Dice(self._name, "background"), self._plan, self._light)

    @cached_property
    def _actors(self) -> list[_Actor]:
        dice = Dice(self._name, "actors")
        actors = [self._cast(dice, kind) for kind in self._plan.kinds]
        return sorted(actors, key=lambda actor: actor.foot_y)

    def _cast(self, dice: Dice, kind: str) -> _Actor:
        plan = self._plan
        to_left = dice.chance(0.5)
        label: Label | None = None
        if kind == "car":
            label, foot_y = "car", plan.road_y(dice.between(0, 1))
            speed_m_s = dice.between(4, 12) if dice.chance(0.75) else 0.0
            draw: Callable[[int], Sprite] = self._car(dice, foot_y, to_left=to_left)
            count = 1
        elif kind == "person":
            label, foot_y = "person", plan.walk_y(dice.between(0, 1))
            speed_m_s = dice.between(0.8, 1.8) if dice.chance(0.8) else 0.0
            draw, count = self._person(dice, foot_y, to_left=to_left, walks=speed_m_s > 0)
        elif kind == "bicycle":
            label, foot_y = "bicycle", plan.road_y(dice.between(0, 1))
            speed_m_s = dice.between(2.5, 5.5) if dice.chance(0.8) else 0.0
            draw, count = self._bicycle(dice, foot_y, to_left=to_left, ridden=speed_m_s > 0)
        else:
            foot_y, speed_m_s = plan.walk_y(dice.between(0, 1)), 0.0
            sprite = clutter_sprite(dice, plan.per_m(foot_y), self._light)
            draw, count = (lambda _: sprite), 1
        pictures = tuple(draw(step) for step in range(count))
        per_frame = speed_m_s * plan.per_m(foot_y) / FRAMES_PER_S * (-1 if to_left else 1)
        span = self._size[0] + 2 * max(sprite.image.width for sprite in pictures)
        return _Actor(
            label, foot_y, dice.between(0, span if speed_m_s else self._size[0]), per_frame, span, pictures
        )

    def _car(self, dice: Dice, foot_y: float, *, to_left: bool) -> Callable[[int], Sprite]:
        sprite = car_sprite(dice, self._plan.per_m(foot_y), self._light, to_left=to_left)
        return lambda _: sprite

    def _person(
        self, dice: Dice, foot_y: float, *, to_left: bool, walks: bool
    ) -> tuple[Callable[[int], Sprite], int]:
        clothes, per_m = roll_clothes(dice), self._plan.per_m(foot_y)
        if not walks:
            return (lambda _: person_sprite(clothes, None, per_m, self._light, to_left=to_left)), 1
        return (lambda step: person_sprite(clothes, step, per_m, self._light, to_left=to_left)), STEPS

    def _bicycle(
        self, dice: Dice, foot_y: float, *, to_left: bool, ridden: bool
    ) -> tuple[Callable[[int], Sprite], int]:
        rider = roll_clothes(dice) if ridden else None
        paint, per_m = bicycle_colour(dice), self._plan.per_m(foot_y)
        return (
            lambda step: bicycle_sprite(paint, rider, step, per_m, self._light, to_left=to_left)
        ), STEPS if ridden else 1

    @cached_property
    def _grain(self) -> list[_Grain]:
        width, height = self._size
        dice = Dice(self._name, "grain")
        strength = dice.between(2, 9)
        return [
            _Grain.of(((dice.field(height, width, 1) - 0.5) * 2 * strength).astype(np.int8))
            for _ in range(_GRAIN_FIELDS)
        ]

    def _through_the_lens(self, picture: Image.Image, sequence: int) -> np.ndarray:
        """Blur as this camera has it, and its grain."""
        if self._plan.blur_px > 0:
            picture = picture.filter(ImageFilter.BoxBlur(self._plan.blur_px))
        return self._grain[sequence % _GRAIN_FIELDS].added_to(np.asarray(picture))


@dataclass(frozen=True, slots=True)
class _Grain:
    """A field of noise kept as the bounds, uint8 [height, width, 3], within which it can be added to a byte.

    Adding it in bytes takes a fiftieth of the time that wider integers and a clip take.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, noise: np.ndarray) -> _Grain:
        """`noise` is int8 [height, width, 1], -127 to 127; the same in all three colours."""
        down, up = (np.maximum(part, 0).astype(np.uint8) for part in (-noise, noise))
        return cls(np.repeat(down, 3, axis=2), np.repeat(255 - up, 3, axis=2))

    def added_to(self, pixels: np.ndarray) -> np.ndarray:
        """`pixels` plus the noise, 0 to 255; a new array."""
        grainy: np.ndarray = np.maximum(pixels, self.low)
        np.minimum(grainy, self.high, out=grainy)
        grainy -= self.low
        grainy += ~self.high
        return grainy


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a sprite that lies in the picture, as slices of both."""

    sprite: tuple[slice, slice]
    picture: tuple[slice, slice]

    @classmethod
    def of(cls, sprite: Sprite, left: int, top: int, width: int, height: int) -> _Window | None:
        rows, columns = sprite.outline.shape
        x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + columns), min(height, top + rows)
        if x1 >= x2 or y1 >= y2:
            return None
        return cls((slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)), (slice(y1, y2), slice(x1, x2)))


def _object(
    label: Label, outline: np.ndarray, inside: _Window, size: tuple[int, int], visible: float
) -> SceneObject:
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    top, left = inside.picture[0].start, inside.picture[1].start
    x1, x2 = left + int(columns[0]), left + int(columns[-1]) + 1
    y1, y2 = top + int(rows[0]), top + int(rows[-1]) + 1
    width, height = size
    return SceneObject(
        label,
        x1 / width,
        y1 / height,
        x2 / width,
        y2 / height,
        float(visible),
        float(((x2 - x1) * (y2 - y1)) ** 0.5),
    )
