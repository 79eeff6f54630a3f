"""Drawing in metres on a canvas several times too large, so that every edge comes out smooth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riverlens.scenes.light import Colour

Point = tuple[float, float]
_OPAQUE = 128
_CURVE_STEPS = 5


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn thing. `image` is RGBA with its shadow and glow; `outline` is bool [h, w], the thing alone.

    `foot` is the pixel (x, y) of the image that stands on the ground at the thing's position.
    """

    image: Image.Image
    outline: np.ndarray
    foot: tuple[int, int]


def smooth(points: Sequence[Point]) -> list[Point]:
    """The closed Catmull-Rom curve through `points`."""
    count = len(points)
    curve: list[Point] = []
    for index in range(count):
        before, start, end, after = (points[(index + shift) % count] for shift in (-1, 0, 1, 2))
        for step in range(_CURVE_STEPS):
            t = step / _CURVE_STEPS
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            four = (before, start, end, after)
            x = sum(weight * point[0] for weight, point in zip(weights, four, strict=True)) / 2
            y = sum(weight * point[1] for weight, point in zip(weights, four, strict=True)) / 2
            curve.append((x, y))
    return curve


class Canvas:
    """A transparent canvas, `width_m` x `height_m`; x runs right from its middle, y up from the ground line.

    `below_m` of the height lies under the ground line (room for shadows). `per_m` is the result's pixels a metre.
    """

    def __init__(self, width_m: float, height_m: float, per_m: float, *, below_m: float = 0.15) -> None:
        self._over = 2 if per_m > 60 else 3  # noqa: PLR2004  # where a large sprite is smooth enough at twice
        self._per_m = per_m * self._over
        width = max(1, math.ceil(width_m * per_m)) * self._over
        height = max(1, math.ceil(height_m * per_m)) * self._over
        self._origin = (width / 2, height - below_m * self._per_m)
        self._image = Image.new("RGBA", (width, height))
        self._draw = ImageDraw.Draw(self._image)

    def _place(self, points: Sequence[Point]) -> list[Point]:
        left, ground = self._origin
        return [(left + x * self._per_m, ground - y * self._per_m) for x, y in points]

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._place(points), fill=(*colour, 255))

    def graded(self, points: Sequence[Point], top: Colour, low: Colour) -> None:
        """A filled polygon whose colour runs from `top` down to `low`."""
        placed = self._place(points)
        left, upper = (max(0, math.floor(min(p[i] for p in placed))) for i in (0, 1))
        right = min(self._image.width, math.ceil(max(p[0] for p in placed)) + 1)
        lower = min(self._image.height, math.ceil(max(p[1] for p in placed)) + 1)
        if right <= left or lower <= upper:
            return
        inside = Image.new("L", (right - left, lower - upper))
        ImageDraw.Draw(inside).polygon([(x - left, y - upper) for x, y in placed], fill=255)
        self._image.paste(
            gradient(right - left, lower - upper, top, low).convert("RGBA"), (left, upper), inside
        )

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """A filled ellipse around (x, y)."""
        (left, upper), (right, lower) = self._place([(x - rx, y + ry), (x + rx, y - ry)])
        self._draw.ellipse((left, upper, right, lower), fill=(*colour, 255))

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        """A circle line around (x, y), `width` metres thick, `radius` to its outer edge."""
        (left, upper), (right, lower) = self._place([(x - radius, y + radius), (x + radius, y - radius)])
        self._draw.ellipse((left, upper, right, lower), outline=(*colour, 255), width=self._pixels(width))

    def limb(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line of `width` metres through `points` with round ends and joints."""
        thick = self._pixels(width)
        placed = self._place(points)
        self._draw.line(placed, fill=(*colour, 255), width=thick, joint="curve")
        if thick > 3:  # noqa: PLR2004  # thinner ends are round enough
            for x, y in placed:
                half = thick / 2 - 0.5
                self._draw.ellipse((x - half, y - half, x + half, y + half), fill=(*colour, 255))

    def _pixels(self, width_m: float) -> int:
        return max(1, round(width_m * self._per_m))

    def finish(self, *, tint: tuple[float, float, float] = (1.0, 1.0, 1.0), mirrored: bool = False) -> Sprite:
        """The sprite at its own size, its colours multiplied by `tint`; `mirrored` makes it face left."""
        image = self._image.reduce(self._over)
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.point([min(255, int(v * by)) for by in tint for v in range(256)] + list(range(256)))
        foot = (image.width // 2, round(self._origin[1] / self._over))
        return Sprite(image, np.asarray(image)[..., 3] >= _OPAQUE, foot)


def gradient(width: int, height: int, top: Colour, low: Colour) -> Image.Image:
    """An RGB image whose colour runs from `top` down to `low`."""
    share = np.linspace(0, 1, max(height, 1), dtype=np.float32)[:, None]
    column = np.asarray(top, np.float32) * (1 - share) + np.asarray(low, np.float32) * share
    return Image.fromarray(column.round().astype(np.uint8)[:, None, :]).resize((width, height))


def grounded(sprite: Sprite, strength: float, *, width_share: float = 1.0, flat: float = 0.13) -> Sprite:
    """`sprite` with a soft shadow of `strength` (0 to 1) on the ground under it; the outline stays."""
    width = round(sprite.image.width * width_share)
    depth = max(2, round(width * flat))
    grow = depth
    shadow = Image.new("L", (width + 2 * grow, depth * 3))
    box = (grow, depth, grow + width, 2 * depth)
    ImageDraw.Draw(shadow).ellipse(box, fill=round(255 * strength))
    shadow = shadow.filter(ImageFilter.BoxBlur(depth / 3))
    foot_x, foot_y = sprite.foot
    left = max(0, shadow.width // 2 - foot_x)
    below = max(0, foot_y + shadow.height // 2 + 1 - sprite.image.height)
    size = (sprite.image.width + 2 * left, sprite.image.height + below)
    image = Image.new("RGBA", size, (8, 8, 14, 0))
    alpha = Image.new("L", size)
    alpha.paste(shadow, (foot_x + left - shadow.width // 2, foot_y - shadow.height // 2))
    image.putalpha(alpha)
    image.alpha_composite(sprite.image, (left, 0))
    outline = np.zeros((size[1], size[0]), bool)
    outline[: sprite.outline.shape[0], left : left + sprite.outline.shape[1]] = sprite.outline
    return Sprite(image, outline, (foot_x + left, foot_y))


def glowing(sprite: Sprite, at: tuple[int, int], radius_px: int, colour: Colour, strength: float) -> Sprite:
    """`sprite` with a soft disc of light around the pixel `at`, cut at the image's edge; the outline stays."""
    radius_px = max(2, radius_px)
    y, x = np.mgrid[0 : sprite.image.height, 0 : sprite.image.width].astype(np.float32)
    near = np.clip(1 - np.hypot(x - at[0], y - at[1]) / radius_px, 0, 1) ** 2 * strength
    light = Image.new("RGBA", sprite.image.size, (*colour, 255))
    light.putalpha(Image.fromarray((near * 255).astype(np.uint8)))
    image = sprite.image.copy()
    image.alpha_composite(light)
    return Sprite(image, sprite.outline, sprite.foot)
