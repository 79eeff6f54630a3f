"""What can be sent: the shape of a source, and what lies in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from riverlens.errors import RiverlensError
from riverlens_producer.pictures import Look

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".avif", ".heic", ".heif", ".jp2", ".ico"}
)
"""Names that count as images inside a folder; a file named directly is judged by its first bytes."""


class SourceError(RiverlensError):
    """A source is missing, is not what it says, or holds nothing to send; names the setting."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture ready to send.

    Attributes:
        image: encoded, as it goes on Kafka.
        content_type: MIME type, where known.
        name: the frame's id; None: its sequence.
        offset_s: its time within the source, seconds since the first; None: the frame rate decides.
        captured_at_ms: when it was captured, milliseconds since the epoch; None: when it is sent.
        missed: pictures of the source that were given up since the one before.
    """

    image: bytes
    content_type: str | None = None
    name: str | None = None
    offset_s: float | None = None
    captured_at_ms: int | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Showing:
    """How files are shown.

    Attributes:
        fps: frames a second at most; None: the file's own, for images 10; 0: no limit.
        loop: begin again at the end.
        look: what is changed in each picture.
    """

    fps: float | None = None
    loop: bool = False
    look: Look = field(default_factory=Look)


class Source(Protocol):
    """What a camera shows.

    Attributes:
        live: a picture not sent in time is worthless; otherwise none is left out.
        fps: pictures a second; None where each Picture brings its `offset_s`.
    """

    live: bool
    fps: float | None

    async def open(self) -> None:
        """Make sure that pictures will come.

        Raises:
            SourceError: they will not.
        """

    async def picture(self, sequence: int) -> Picture | None:
        """The picture with this sequence; None at the end. Sequences only grow; live sources skip some."""

    async def close(self) -> None:
        """Free what `open` took."""


def content_type(head: bytes) -> str | None:
    """The MIME type of an encoded image by its first bytes (16 suffice), or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "image/avif" if brand in {b"avif", b"avis"} else "image/heic" if brand == b"heic" else None
    return next((mime for magic, mime in _MAGIC if head.startswith(magic)), None)


_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"BM", "image/bmp"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def image_files(folder: Path) -> list[Path]:
    """The folder's images by name, in the order of their names, numbers by value (2 before 10).

    Raises:
        SourceError: it cannot be read, or holds none.
    """
    try:
        files = sorted((entry for entry in folder.iterdir() if entry.is_file()), key=_natural)
    except OSError as error:
        raise SourceError(f"source: {folder}: cannot be read ({error.strerror}); see --source") from None
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        hint = f", but {len(files)} other files: name a video directly" if files else ""
        raise SourceError(f"source: {folder}: holds no images{hint}; see --source")
    return images


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
