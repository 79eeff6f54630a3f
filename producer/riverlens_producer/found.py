"""What a look at a camera found, for people and for machines."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Literal

import av

from riverlens_producer.cameras import Camera
from riverlens_producer.link import Offer
from riverlens_producer.sources import content_type, image_files


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen of one camera or file.

    Attributes:
        where: without user, password and query.
        width: of the pictures as they are sent, in pixels; height likewise; 0 where they cannot be read.
        image_bytes: of one of them.
        first_frame_s: from the first attempt to the first frame.
        frames: that came in `span_s` seconds, of a file in so many seconds of it.
        clock: where capture times come from: `off` is a camera whose clock is too wrong to be believed.
        behind_ms: what lies between capture and receipt, or how far the clock is off.
        broken: frames that could not be decoded.
    """

    camera: str
    where: str
    offer: Offer
    width: int
    height: int
    image_bytes: int
    first_frame_s: float
    frames: int
    span_s: float
    clock: Literal["camera", "arrival", "off", "sent"]
    behind_ms: int = 0
    broken: int = 0

    @property
    def fps(self) -> float | None:
        """The measured rate, or None where one frame came."""
        return (self.frames - 1) / self.span_s if self.frames > 1 and self.span_s > 0 else None

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {"schema": "riverlens.probe/1", **asdict(self), "fps": self.fps}


def report(found: Found) -> list[str]:
    """For people, a line a fact."""
    offer = found.offer
    told = f"{offer.fps:.3g} frames/s told, " if offer.fps else ""
    if found.fps is None:
        measured = f"one frame in {found.span_s:.1f} s" if found.frames < 2 else "not measured"  # noqa: PLR2004  # one
    else:
        measured = f"{found.fps:.1f} measured over {found.span_s:.1f} s"
    way = "passed through as they are" if offer.passes else "encoded as JPEG here"
    size = f"{found.width}x{found.height}" if found.width else "unknown"
    rows = [
        ("kind", f"{offer.kind}, {offer.codec}"),
        ("size", size if not offer.width or (offer.width, offer.height) == (found.width, found.height)
         else f"{offer.width}x{offer.height}, sent as {size}"),
        ("rate", f"{told}{measured}"),
        ("first frame", f"after {found.first_frame_s:.2f} s"),
        ("frames", f"{way}, {found.image_bytes / 1000:.0f} kB each"),
        ("capture time", _clock(found)),
    ]  # fmt: skip
    if found.broken:
        rows.append(("broken", f"{found.broken} frames could not be decoded"))
    return [f"{found.camera}: {found.where}", *(f"  {name:<14}{text}" for name, text in rows)]


def _clock(found: Found) -> str:
    if found.clock == "camera":
        return f"the camera's; frames are {found.behind_ms} ms old when they come"
    if found.clock == "off":
        return (
            f"that of arrival: the camera's clock is {found.behind_ms / 1000:.0f} s off; set its NTP server"
        )
    if found.clock == "arrival":
        return "that of arrival; the camera has told none yet"
    return "when they are sent"


def size_of(image: bytes) -> tuple[int, int]:
    """Width and height of an encoded image in pixels; 0, 0 where it cannot be read."""
    # Runs do not need what this loads.
    from PIL import Image  # noqa: PLC0415  # see above

    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.width, opened.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, 0


def looked_at(camera: Camera) -> Offer:
    """What a file or a folder offers; it could be opened a moment ago."""
    path = camera.path
    if path.is_dir():
        count = len(image_files(path))
        return Offer(f"folder of {count} images", "files", fps=camera.fps or 10.0, passes=camera.look.as_is)
    with path.open("rb") as file:
        kind = content_type(file.read(16))
    if kind is not None and kind != "image/gif":
        return Offer("image", kind.removeprefix("image/"), fps=camera.fps or 10.0, passes=camera.look.as_is)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        length = f" of {container.duration / 1e6:.1f} s" if container.duration else ""
        codec = stream.codec_context
        return Offer(f"video{length}", codec.name, codec.width, codec.height, float(rate) if rate else None)
