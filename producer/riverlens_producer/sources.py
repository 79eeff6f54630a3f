"""What can be sent: the shape of a source, and what a `--source` text means. Pure, but for `locate`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from riverlens.errors import RiverlensError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".avif", ".heic", ".heif", ".jp2", ".ico"}
)
"""Names that count as images inside a folder; a file named directly is judged by its first bytes."""

_NAMED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


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
    """

    image: bytes
    content_type: str | None = None
    name: str | None = None
    offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Showing:
    """How files are shown.

    Attributes:
        fps: frames a second at most; None: the file's own, for images 10; 0: no limit.
        loop: begin again at the end.
        limit: width and height in pixels to scale down into; None: as it is.
        quality: of JPEGs encoded here, 1 to 100; None: 80, and images go as they are where no limit is set.
    """

    fps: float | None = None
    loop: bool = False
    limit: tuple[int, int] | None = None
    quality: int | None = None


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


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A `--source`: which camera, which file or folder."""

    camera_id: str
    path: Path


def parse_sources(texts: tuple[str, ...]) -> tuple[SourceSpec, ...]:
    """Read `PATH` or `CAMERA=PATH`; a PATH alone names its camera after the file, without its ending.

    Raises:
        SourceError: an address, or two sources of one camera.
    """
    specs = tuple(_parse(text) for text in texts)
    seen: dict[str, Path] = {}
    for spec in specs:
        if spec.camera_id in seen:
            raise SourceError(
                f"source: {seen[spec.camera_id]} and {spec.path} would both be camera "
                f"{spec.camera_id!r}; name them: --source CAMERA=PATH"
            )
        seen[spec.camera_id] = spec.path
    return specs


def _parse(text: str) -> SourceSpec:
    match = _NAMED.fullmatch(text)
    camera_id, where = (match[1], match[2]) if match else (None, text)
    if _ADDRESS.match(where):
        raise SourceError(f"source: {where}: an address; --source takes files and folders")
    path = Path(where)
    return SourceSpec(camera_id or path.stem or path.resolve().name or "camera", path)


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
