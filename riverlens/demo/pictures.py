"""Sample pictures: frames with what the model found drawn on them."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont, ImageOps

from riverlens.event import Detection, Event
from riverlens.times import to_rfc3339

_COLOURS = ("#ff5a36", "#1fb6ff", "#2fd070", "#ffc400", "#c46bff", "#ff6fae", "#00d1c7", "#9ad400")
_MIN_WIDTH_PX = 960


def choose(events: Iterable[Event], count: int) -> list[Event]:
    """The most telling events: one a camera first, those with the most sure detections."""

    def worth(event: Event) -> float:
        return sum(found.score for found in event.detections or ())

    best: dict[str, Event] = {}
    rest: list[Event] = []
    for event in sorted(events, key=worth, reverse=True):
        if event.camera_id in best:
            rest.append(event)
        else:
            best[event.camera_id] = event
    return [*best.values(), *rest][:count]


def annotate(image: bytes, event: Event) -> Image.Image:
    """The frame, upright, with a box, a class name and a score for each detection."""
    picture = ImageOps.exif_transpose(Image.open(BytesIO(image))).convert("RGB")
    if picture.width < _MIN_WIDTH_PX:
        scale = -(-_MIN_WIDTH_PX // picture.width)
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(14, picture.width // 60))
    for found in reversed(event.detections or ()):
        _draw_box(draw, font, found, picture.size)
    classes = ", ".join(f"{one.label} {one.score:.0%}" for one in (event.classes or ())[:3])
    caption = (
        f"{event.camera_id}  {to_rfc3339(event.captured_at_ms)}  {event.model.name} v{event.model.version}"
    )
    _write(draw, font, (8, 6), f"{caption}  {classes}".rstrip(), "#101418")
    return picture


def _draw_box(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    found: Detection,
    size: tuple[int, int],
) -> None:
    colour = _COLOURS[found.class_id % len(_COLOURS)]
    x1, y1, x2, y2 = (value * size[axis % 2] for axis, value in enumerate(found.box))
    draw.rectangle((x1, y1, x2, y2), outline=colour, width=max(2, size[0] // 400))
    height = font.getbbox("Ag")[3] + 4
    _write(draw, font, (x1, max(0.0, y1 - height)), f"{found.label} {found.score:.2f}", colour)


def _write(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    at: tuple[float, float],
    text: str,
    ground: str,
) -> None:
    left, top, right, bottom = draw.textbbox(at, text, font=font)
    draw.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=ground)
    draw.text(at, text, fill="white", font=font)
