"""What is sent: images of a folder, or drawn streets, as rows that the model takes. Shell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import simplejpeg

from riverlens.errors import SettingsError
from riverlens.scenes import Street
from riverlens_worker.decoding import UndecodableError, to_row
from riverlens_worker.target import Row, Target

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_MOST = 64
_SCENES = 8
_SIZE = (640, 480)
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Images:
    """Rows of one shape, at least one, and what they are in words."""

    rows: list[Row]
    text: str


def images(folder: str | None, target: Target) -> Images:
    """The first 64 images of a folder, or eight drawn ones.

    Calls hold one shape each, so where shapes differ only the commonest is sent.

    Raises:
        SettingsError: the folder cannot be read, or no image in it can be decoded.
    """
    if folder is None:
        street = Street("tune", *_SIZE)
        drawn = [simplejpeg.encode_jpeg(street.frame(n).image, _QUALITY, "RGB") for n in range(_SCENES)]
        rows = [to_row(image, None, target) for image in drawn]
        return Images(rows, f"{len(rows)} drawn street scenes, {_SIZE[0]} x {_SIZE[1]}")
    rows, refused = _read(Path(folder), target)
    if not rows:
        raise SettingsError(f"images ({folder}): no image that can be decoded{refused}")
    shape, count = Counter(row.shape for row in rows).most_common(1)[0]
    left = f", {len(rows) - count} of other sizes left out" if count < len(rows) else ""
    return Images([row for row in rows if row.shape == shape], f"{count} images of {folder}{left}")


def _read(folder: Path, target: Target) -> tuple[list[Row], str]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)[:_MOST]
        found = [path.read_bytes() for path in paths]
    except OSError as error:
        raise SettingsError(f"images ({folder}): {error.strerror or error}") from None
    rows, refused = [], ""
    for path, image in zip(paths, found, strict=True):
        try:
            rows.append(to_row(image, None, target))
        except UndecodableError as error:
            refused = f"; {path.name}: {error}"
    return rows, refused
