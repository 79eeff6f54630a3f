"""What stands still behind the street: sky, clouds, houses, pavements, road, trees. Drawn once a camera."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFilter

from riverlens.scenes.brush import gradient
from riverlens.scenes.dice import Dice
from riverlens.scenes.light import Colour, Light, mixed, shaded, tinted
from riverlens.scenes.plan import Plan

_OVER = 2
Box = tuple[float, float, float, float]
_WALLS: tuple[Colour, ...] = (
    (188, 120, 96), (206, 184, 152), (150, 152, 160), (222, 208, 184), (132, 92, 84), (176, 166, 140), (110, 124, 138),
)  # fmt: skip
_LEAVES: tuple[Colour, ...] = ((70, 122, 62), (96, 142, 70), (52, 100, 58), (150, 138, 62))
_WINDOW_LIT: Colour = (252, 222, 142)


def draw_background(dice: Dice, plan: Plan, light: Light) -> Image.Image:
    """RGB picture of the plan's size."""
    width, height = plan.width * _OVER, plan.height * _OVER
    picture = gradient(width, height, light.sky_top, light.sky_low)
    _draw_clouds(picture, dice, plan, light)
    draw = ImageDraw.Draw(picture)
    _draw_houses(draw, dice, plan, light)
    _draw_ground(picture, draw, dice, plan, light)
    _draw_trees(picture, dice, plan, light)
    return picture.resize((plan.width, plan.height), Image.Resampling.BOX)


def _draw_clouds(picture: Image.Image, dice: Dice, plan: Plan, light: Light) -> None:
    layer = Image.new("L", picture.size)
    draw = ImageDraw.Draw(layer)
    for _ in range(dice.whole(3, 8)):
        x, y = dice.between(0, picture.width), dice.between(0, plan.horizon * _OVER * 0.7)
        size = dice.between(0.04, 0.1) * picture.width
        for _ in range(6):
            dx, dy, r = (
                dice.between(-1.6, 1.6) * size,
                dice.between(-0.25, 0.25) * size,
                dice.between(0.3, 0.6) * size,
            )
            draw.ellipse(
                (x + dx - r, y + dy - r / 2, x + dx + r, y + dy + r / 2), fill=round(200 * light.cloud)
            )
    layer = layer.filter(ImageFilter.BoxBlur(picture.width / 60))
    picture.paste(Image.new("RGB", picture.size, light.cloud_colour), (0, 0), layer)


def _draw_houses(draw: ImageDraw.ImageDraw, dice: Dice, plan: Plan, light: Light) -> None:
    """A skyline far away, then a row of houses with windows and doors."""
    foot = plan.walls * _OVER
    width = plan.width * _OVER
    far = mixed(tinted((120, 130, 150), light), light.sky_low, 0.5)
    x = 0.0
    while x < width:
        wide = dice.between(0.03, 0.09) * width
        draw.rectangle((x, foot * dice.between(0.35, 0.75), x + wide, foot), fill=far)
        x += wide
    x = -dice.between(0, 0.1) * width
    while x < width:
        wide = dice.between(0.12, 0.3) * width
        if dice.chance(0.85):
            _draw_house(draw, dice, (x, x + wide), foot, light)
        x += wide + (dice.between(0, 0.05) * width if dice.chance(0.3) else 0)


def _draw_house(
    draw: ImageDraw.ImageDraw, dice: Dice, sides: tuple[float, float], foot: float, light: Light
) -> None:
    left, right = sides
    wall = mixed(
        tinted(shaded(dice.pick(_WALLS), dice.between(-0.15, 0.1)), light), light.sky_low, light.haze * 0.6
    )
    top = foot * dice.between(0.02, 0.5)
    draw.rectangle((left, top, right, foot), fill=wall)
    draw.rectangle((left, top, right, top + (foot - top) * 0.04), fill=shaded(wall, -0.25))
    floors, columns = (
        max(2, round((foot - top) / (foot * 0.2))),
        max(2, round((right - left) / (foot * 0.22))),
    )
    for floor in range(floors):
        for column in range(columns):
            cell = _cell((left, top, right, foot), column / columns, floor / floors, 1 / columns, 1 / floors)
            _draw_window(draw, dice, light, wall, cell)
    shop = foot - (foot - top) / floors * 0.95
    if dice.chance(0.5):
        awning = tinted(dice.pick(_WALLS[::2] + _LEAVES), light)
        draw.rectangle((left + 4, shop, right - 4, foot), fill=shaded(wall, -0.5))
        draw.rectangle((left + 2, shop - 6, right - 2, shop + (foot - shop) * 0.22), fill=awning)


def _cell(house: Box, x_share: float, y_share: float, wide: float, high: float) -> Box:
    """The window in the part of a house that begins at these shares of it."""
    left, top, right, foot = house
    x, y = left + (right - left) * x_share, top + (foot - top) * y_share
    width, height = (right - left) * wide, (foot - top) * high
    return x + width * 0.25, y + height * 0.25, x + width * 0.75, y + height * 0.8


def _draw_window(draw: ImageDraw.ImageDraw, dice: Dice, light: Light, wall: Colour, box: Box) -> None:
    lit = dice.chance(light.lit)
    glass = _WINDOW_LIT if lit else tinted(shaded((96, 120, 142), dice.between(-0.3, 0.2)), light)
    draw.rectangle(box, fill=glass, outline=shaded(wall, 0.3), width=2)


def _draw_ground(
    picture: Image.Image, draw: ImageDraw.ImageDraw, dice: Dice, plan: Plan, light: Light
) -> None:
    width = picture.width
    walls, far, near, end = (
        round(row * _OVER) for row in (plan.walls, plan.far_kerb, plan.near_kerb, plan.height)
    )
    paving = tinted(shaded((168, 162, 154), dice.between(-0.15, 0.1)), light)
    asphalt = tinted(shaded((84, 86, 92), dice.between(-0.25, 0.15)), light)
    picture.paste(gradient(width, far - walls, shaded(paving, 0.1), paving), (0, walls))
    picture.paste(gradient(width, near - far, shaded(asphalt, 0.12), shaded(asphalt, -0.12)), (0, far))
    picture.paste(gradient(width, end - near, paving, shaded(paving, -0.15)), (0, near))
    for row in (far, near):
        draw.rectangle((0, row - 4, width, row + 2), fill=shaded(paving, 0.35))
    white = tinted((232, 232, 224), light)
    lanes = dice.whole(1, 2)
    for lane in range(1, lanes + 1):
        y = far + (near - far) * lane / (lanes + 1) * 0.92
        dash, thick = (near - far) * 0.3, max(2, (y - plan.horizon * _OVER) * plan.scale * 0.08)
        for number in range(-1, int(width / dash / 2) + 2):
            x = (number + dice.between(0.0, 0.05)) * dash * 2
            draw.rectangle((x, y, x + dash, y + thick), fill=white)
    if dice.chance(0.5):
        _draw_crossing(draw, dice, plan, white)
    for _ in range(dice.whole(4, 12)):
        _draw_stain(draw, dice, plan, asphalt)


def _draw_crossing(draw: ImageDraw.ImageDraw, dice: Dice, plan: Plan, white: Colour) -> None:
    x = dice.between(0.15, 0.75) * plan.width * _OVER
    far, near = plan.far_kerb * _OVER + 6, plan.near_kerb * _OVER - 6
    wide = 0.2 * plan.width * _OVER
    bars = 7
    for bar in range(bars):
        y1 = far + (near - far) * (bar / bars) ** 1.2
        y2 = y1 + (near - far) / bars * 0.5
        draw.polygon([(x, y1), (x + wide * 0.7, y1), (x + wide * 0.72, y2), (x, y2)], fill=white)


def _draw_stain(draw: ImageDraw.ImageDraw, dice: Dice, plan: Plan, asphalt: Colour) -> None:
    x, y = dice.between(0, plan.width * _OVER), plan.road_y(dice.between(0, 1)) * _OVER
    rx = dice.between(0.01, 0.06) * plan.width * _OVER
    draw.ellipse((x - rx, y - rx * 0.2, x + rx, y + rx * 0.2), fill=shaded(asphalt, dice.between(-0.25, 0.1)))


def _draw_trees(picture: Image.Image, dice: Dice, plan: Plan, light: Light) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(dice.whole(0, 5)):
        x = dice.between(0, picture.width)
        foot = dice.between(plan.walls, plan.far_kerb) * _OVER
        per_m = plan.per_m(foot / _OVER) * _OVER
        trunk = tinted((92, 70, 52), light)
        draw.rectangle((x - 0.14 * per_m, foot - 2.4 * per_m, x + 0.14 * per_m, foot), fill=trunk)
        leaves = tinted(dice.pick(_LEAVES), light)
        for _ in range(26):
            dx, dy, r = (
                dice.between(-1.4, 1.4) * per_m,
                dice.between(1.9, 4.4) * per_m,
                dice.between(0.3, 0.75) * per_m,
            )
            colour = shaded(leaves, dice.between(-0.25, 0.2))
            draw.ellipse((x + dx - r, foot - dy - r, x + dx + r, foot - dy + r), fill=colour)
