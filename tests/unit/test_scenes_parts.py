"""The parts that streets are made of: choices, plans, lights and sprites."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.scenes.bicycles import bicycle_colour, bicycle_sprite
from riverlens.scenes.brush import Canvas, Sprite, grounded
from riverlens.scenes.cars import car_sprite
from riverlens.scenes.clutter import clutter_sprite
from riverlens.scenes.dice import Dice
from riverlens.scenes.light import LIGHTS, mixed, roll_light, shaded, tinted
from riverlens.scenes.people import STEPS, person_sprite, roll_clothes
from riverlens.scenes.plan import roll_plan

ROUNDING = 1e-12
words = st.lists(st.one_of(st.text(max_size=8), st.integers(-(10**6), 10**6)), min_size=1, max_size=4)
colours = st.tuples(*[st.integers(0, 255)] * 3)


def test_the_same_words_give_the_same_numbers_for_ever() -> None:
    """The first numbers of one stream are pinned: were they to change, every picture and its truth would."""
    dice = Dice("lobby", "lane", 2)
    assert [round(dice.between(0, 1), 12) for _ in range(3)] == [0.569343795196, 0.543506063964, 0.4052712456]


def test_a_number_and_its_digits_are_different_words() -> None:
    """Parts of another type, or cut elsewhere, start another stream."""
    streams = [Dice("a", 1), Dice("a", "1"), Dice("a1"), Dice("a", "", 1)]
    assert len({dice.between(0, 1) for dice in streams}) == len(streams)


@given(parts=words, low=st.integers(-50, 50), span=st.integers(0, 60))
def test_choices_stay_within_their_bounds(parts: list[str | int], low: int, span: int) -> None:
    """Uniform numbers, whole numbers and picks come from what was offered."""
    dice = Dice(*parts)
    assert low <= dice.between(low, low + span + 1) < low + span + 1
    assert low <= dice.whole(low, low + span) <= low + span
    assert dice.pick(range(low, low + span + 1)) in range(low, low + span + 1)
    assert not dice.chance(0)
    assert dice.chance(1)


@given(first=colours, second=colours, share=st.floats(0, 1))
def test_colours_stay_colours(
    first: tuple[int, int, int], second: tuple[int, int, int], share: float
) -> None:
    """Mixing, shading and lighting never leave 0 to 255, and their ends are what they say."""
    for light in LIGHTS:
        assert all(0 <= part <= 255 for part in tinted(first, light))
    assert all(0 <= part <= 255 for part in mixed(first, second, share))
    assert mixed(first, second, 0) == first
    assert mixed(first, second, 1) == second
    assert shaded(first, 1) == (255, 255, 255)
    assert shaded(first, -1) == (0, 0, 0)


@given(name=st.text(max_size=12), width=st.integers(32, 4000), height=st.integers(32, 3000))
def test_every_street_lies_in_its_picture_from_far_to_near(name: str, width: int, height: int) -> None:
    """Horizon, houses, kerbs and the picture's edge follow each other; who is nearer is larger."""
    plan = roll_plan(Dice(name), width, height)
    assert 0 < plan.horizon < plan.walls < plan.far_kerb < plan.near_kerb < height
    for share in (0.0, 0.5, 1.0):
        assert plan.far_kerb <= plan.road_y(share) <= plan.near_kerb * (1 + ROUNDING)
        assert plan.walls <= plan.walk_y(share) <= height
    assert plan.per_m(plan.far_kerb) <= plan.per_m(plan.near_kerb)
    assert plan.kinds


def _sprites(per_m: float) -> list[Sprite]:
    dice = Dice("sprites", int(per_m))
    things = []
    for light in LIGHTS:
        for to_left in (False, True):
            clothes = roll_clothes(dice)
            things.append(car_sprite(dice, per_m, light, to_left=to_left))
            things.append(person_sprite(clothes, None, per_m, light, to_left=to_left))
            things.append(person_sprite(clothes, 3, per_m, light, to_left=to_left))
            paint = bicycle_colour(dice)
            things.append(bicycle_sprite(paint, clothes, 2, per_m, light, to_left=to_left))
            things.append(bicycle_sprite(paint, None, 0, per_m, light, to_left=to_left))
            things.append(clutter_sprite(dice, per_m, light))
    return things


@pytest.mark.parametrize("per_m", [9.5, 40.0, 90.0])
def test_every_sprite_has_an_outline_that_is_drawn_and_stands_on_its_foot(per_m: float) -> None:
    """The outline has the image's size, covers only what is opaque, and touches the ground at the foot."""
    for sprite in _sprites(per_m):
        alpha = np.asarray(sprite.image)[..., 3]
        assert sprite.outline.shape == alpha.shape
        assert sprite.outline.any()
        assert (alpha[sprite.outline] >= 128).all()
        lowest = int(np.flatnonzero(sprite.outline.any(axis=1))[-1])
        assert abs(lowest - sprite.foot[1]) <= max(3, 0.16 * per_m)


def test_the_shadow_is_no_part_of_the_thing() -> None:
    """Putting a thing on the ground darkens pixels under it and leaves its outline and its colours."""
    canvas = Canvas(1.0, 1.0, 50)
    canvas.shape([(-0.3, 0.0), (-0.3, 0.7), (0.3, 0.7), (0.3, 0.0)], (200, 40, 40))
    bare = canvas.finish()
    on_ground = grounded(bare, 0.5)
    assert on_ground.outline.sum() == bare.outline.sum()
    soft = np.asarray(on_ground.image)[..., 3] > 0
    assert soft.sum() > on_ground.outline.sum()
    colours_in = np.asarray(on_ground.image)[on_ground.outline][:, :3]
    assert (colours_in == (200, 40, 40)).all(axis=1).mean() > 0.9


def test_a_walk_swings_there_and_back() -> None:
    """The swing there passes the pictures of the swing back, and the walker's height hardly changes."""
    clothes = roll_clothes(Dice("walker"))
    walk = [person_sprite(clothes, step, 60, LIGHTS[0], to_left=False) for step in range(STEPS)]
    assert len({sprite.image.tobytes() for sprite in walk}) == STEPS // 2 + 1
    heights = [np.flatnonzero(sprite.outline.any(axis=1)) for sprite in walk]
    tall = [rows[-1] - rows[0] for rows in heights]
    assert max(tall) - min(tall) <= 0.12 * max(tall)


@pytest.mark.parametrize("turn", range(6))
def test_lights_differ_a_little_from_street_to_street(turn: int) -> None:
    """A rolled light is one of the known hours with a tint near to its own."""
    light = roll_light(Dice("light", turn))
    known = next(one for one in LIGHTS if one.name == light.name)
    assert all(abs(a - b) <= 0.12 for a, b in zip(light.tint, known.tint, strict=True))
