"""From a frame's bytes to a row that the model can take. Pure: bytes in, array or reason out.

simplejpeg reads ordinary JPEGs, scaled by the DCT towards the model's size. Where its strict mode
refuses (it refuses good files too), and for all other formats, Pillow decides. Pixel limits are checked
on the header, before anything is allocated.
"""

from __future__ import annotations

import re
import warnings
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from riverlens.dead_letter import Reason
from riverlens.signature import InputKind
from riverlens_worker.image_header import ImageHeader, read_header
from riverlens_worker.pixels import TURNED, Pixels, boxed, resized, to_numbers, upright
from riverlens_worker.target import Row, Target

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before Pillow loads a pixel
# What is odd about somebody's image is no news on the worker's standard error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_RAW = re.compile(
    r"application/x-raw-rgb\s*;(?=.*\bwidth=(\d{1,6})\b)(?=.*\bheight=(\d{1,6})\b)", re.IGNORECASE
)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_JPEG_QUALITY = 95
_JPEG_MAX_SIDE = 65_500
"""Of libjpeg (JPEG_MAX_DIMENSION)."""
_MOST_SCANNED = 2_000_000_000
"""Pixels of all scans of a JPEG together: a second's work. A camera's progressive JPEG has ten scans."""
_SHORT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION_TAG = 0x0112
_FAST_FACTORS = (8, 4, 2)
"""Divisors that libjpeg-turbo scales by with vector instructions; others (6/8) cost more than all pixels."""
_MUCH = 4 / 3
"""What is so much larger than wanted, both ways, has its colours doubled, not interpolated: they are averaged
again anyway."""


class UndecodableError(Exception):
    """This frame cannot become a row: a reason of the closed list, and a detail for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def to_row(image: bytes, content_type: str | None, target: Target) -> Row:
    """Read one frame for `target`.

    Raises:
        UndecodableError: empty, too large, unsupported, or not decodable; no other exception, whatever
            the bytes.
    """
    try:
        return _to_row(image, content_type, target)
    except UndecodableError:
        raise
    except MemoryError:
        raise UndecodableError(Reason.TOO_LARGE, "not enough memory to decode") from None
    except Exception as error:  # noqa: BLE001  # hostile bytes raise almost anything in a decoder
        raise UndecodableError(Reason.UNDECODABLE, f"{type(error).__name__}: {error}") from None


def _to_row(image: bytes, content_type: str | None, target: Target) -> Row:
    if not image:
        raise UndecodableError(Reason.UNDECODABLE, "the value is empty")
    if len(image) > target.max_frame_bytes:
        raise UndecodableError(
            Reason.TOO_LARGE, f"{len(image)} bytes; max_frame_bytes is {target.max_frame_bytes}"
        )
    raw = _raw_pixels(image, content_type)
    if raw is not None:
        _check_pixels(raw.shape[1], raw.shape[0], target.max_pixels)
        return _finish(raw, raw.shape[1::-1], target, "raw_pixels")
    header = read_header(image)
    if header is None:
        raise _unknown(image, content_type)
    if header.costly:
        raise UndecodableError(Reason.UNDECODABLE, f"a {header.format} that is not read: {header.costly}")
    _check_pixels(header.width, header.height, target.max_pixels)
    _check_scans(header.scans, header.width, header.height)
    if target.kind is InputKind.ENCODED and _goes_as_it_is(header):
        return _as_it_is(image, header, target)
    pixels, size = _decode(image, header, target)
    return _finish(pixels, size, target, _why_reencoded(header))


def quick_row(image: bytes, content_type: str | None, target: Target) -> Row | None:
    """The row of an encoded image that goes to the model as it is: a look at its header, no more.

    None where `to_row` has work to do, or a refusal to tell.
    """
    if target.kind is not InputKind.ENCODED or not 0 < len(image) <= target.max_frame_bytes:
        return None
    header = read_header(image)
    if header is None or not _goes_as_it_is(header) or _raw_pixels(image, content_type) is not None:
        return None
    try:
        _check_pixels(header.width, header.height, target.max_pixels)
        _check_scans(header.scans, header.width, header.height)
    except UndecodableError:
        return None
    return _as_it_is(image, header, target)


def _goes_as_it_is(header: ImageHeader) -> bool:
    return header.plain and header.orientation == 1 and not header.costly


def _as_it_is(image: bytes, header: ImageHeader, target: Target) -> Row:
    assert header.width is not None  # noqa: S101  # plain headers tell the size
    assert header.height is not None  # noqa: S101  # likewise
    size = (header.width, header.height)
    return Row(image, size if target.by_size else (), len(image), size)


def _raw_pixels(image: bytes, content_type: str | None) -> Pixels | None:
    match = _RAW.match(content_type) if content_type else None
    if match is None:
        return None
    width, height = int(match.group(1)), int(match.group(2))
    # Pixels may begin with any bytes, an image's magic ones too: the exact length decides.
    if width * height * 3 != len(image):
        return None
    return np.frombuffer(image, np.uint8).reshape(height, width, 3)


def _unknown(image: bytes, content_type: str | None) -> UndecodableError:
    if content_type and _RAW.match(content_type):
        return UndecodableError(
            Reason.UNDECODABLE, f"{len(image)} bytes do not fit the raw pixels of {content_type!r}"
        )
    return UndecodableError(Reason.UNSUPPORTED, f"begins like no image riverlens reads: {image[:12]!r}")


def _check_pixels(width: int | None, height: int | None, limit: int) -> None:
    if width is not None and height is not None and width * height > limit:
        raise UndecodableError(Reason.TOO_LARGE, f"{width} x {height} pixels; max_pixels is {limit}")


def _check_scans(scans: int, width: int | None, height: int | None) -> None:
    if width is not None and height is not None and scans * width * height > _MOST_SCANNED:
        raise UndecodableError(
            Reason.TOO_LARGE, f"{scans} scans of {width} x {height} pixels take seconds to decode"
        )


def _decode(image: bytes, header: ImageHeader, target: Target) -> tuple[Pixels, tuple[int, int]]:
    """Upright RGB pixels, perhaps already scaled down; and the image's own size as a person sees it."""
    if header.plain and header.format == "JPEG" and header.orientation is not None:
        try:
            return _decode_jpeg(image, header, header.orientation, target)
        except ValueError:
            pass  # strict simplejpeg refuses good files too: Pillow decides
    try:
        return _decode_any(image, header, target)
    except UnidentifiedImageError:
        # Pillow's own text holds nothing but an address in memory.
        raise UndecodableError(Reason.UNDECODABLE, f"begins like {header.format}, but is none") from None


def _decode_jpeg(
    image: bytes, header: ImageHeader, orientation: int, target: Target
) -> tuple[Pixels, tuple[int, int]]:
    assert header.width is not None  # noqa: S101  # plain headers tell the size
    assert header.height is not None  # noqa: S101  # likewise
    turned = orientation in TURNED
    size = (header.height, header.width) if turned else (header.width, header.height)
    wanted = _wanted_size(size, target)
    least_w, least_h = (wanted[1], wanted[0]) if turned else wanted
    width, height = header.width, header.height
    fits = (f for f in _FAST_FACTORS if -(-width // f) >= least_w and -(-height // f) >= least_h)
    factor = next(fits, 1)
    decoded_w, decoded_h = -(-width // factor), -(-height // factor)
    pixels: Pixels = simplejpeg.decode_jpeg(
        image,
        "RGB",
        min_width=decoded_w,
        min_height=decoded_h,
        min_factor=1,
        fastupsample=decoded_w >= _MUCH * least_w and decoded_h >= _MUCH * least_h,
        strict=True,
    )
    return upright(pixels, orientation), size


def _decode_any(image: bytes, header: ImageHeader, target: Target) -> tuple[Pixels, tuple[int, int]]:
    with Image.open(BytesIO(image), formats=_FORMATS) as opened:
        _check_pixels(opened.width, opened.height, target.max_pixels)
        _check_scans(header.scans, opened.width, opened.height)
        if opened.format in {"JPEG", "MPO"}:
            turned = (header.orientation or _orientation(opened)) in TURNED
            wanted = _wanted_size(opened.size[::-1] if turned else opened.size, target)
            size = opened.size
            opened.draft("RGB", wanted[::-1] if turned else wanted)
            opened.load()
        else:
            opened.load()
            size = opened.size
        # Asked after loading: Pillow turns a TIFF itself, and then tells no orientation any more.
        orientation = header.orientation or _orientation(opened)
        return upright(_rgb(opened), orientation), size[::-1] if orientation in TURNED else size


def _orientation(opened: Image.Image) -> int:
    """What Pillow reads of the Exif orientation; 1 where the Exif block is broken: the image may be fine."""
    try:
        found = opened.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  # a hostile Exif block raises almost anything
        return 1
    return found if found in range(1, 9) else 1


def _rgb(image: Image.Image) -> Pixels:
    if image.mode in _SHORT_MODES or image.mode == "I":
        wide = np.asarray(image)
        if image.mode == "I":
            wide = wide.clip(0, 65535)
        # The upper byte, as libpng and TensorFlow do it; an "I" may hold 8 bits as well.
        small = image.mode == "I" and wide.max(initial=0) <= 255  # noqa: PLR2004  # 8 bits
        gray = (wide if small else wide >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in {"LAB", "HSV"}:
        raise UndecodableError(Reason.UNSUPPORTED, f"colour mode {image.mode}")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _wanted_size(size: tuple[int, int], target: Target) -> tuple[int, int]:
    """(width, height) that an image of `size` will have in the model's row."""
    place = target.place(size)
    return place.inner_width, place.inner_height


def _finish(pixels: Pixels, size: tuple[int, int], target: Target, why: str) -> Row:
    if 0 in size:
        raise UndecodableError(Reason.UNDECODABLE, f"an image of {size[0]} x {size[1]} pixels")
    wanted = _wanted_size(size, target)
    if target.kind is InputKind.ENCODED and max(wanted) > _JPEG_MAX_SIDE:
        raise UndecodableError(
            Reason.TOO_LARGE, f"{wanted[0]} x {wanted[1]} pixels; a JPEG's side holds {_JPEG_MAX_SIDE}"
        )
    if (pixels.shape[1], pixels.shape[0]) != wanted:
        pixels = resized(pixels, *wanted)
    if target.kind is InputKind.ENCODED:
        encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY, "RGB", "444")
        return Row(encoded, wanted if target.by_size else (), len(encoded), size, reencoded=why)
    if target.rule.letterbox:
        pixels = boxed(pixels, target.place(size))
    row = to_numbers(pixels, target.dtype, target.rule)
    return Row(row, pixels.shape[:2], row.nbytes, size)


def _why_reencoded(header: ImageHeader) -> str:
    if header.format not in {"JPEG", "PNG"}:
        return header.format.lower()
    return "rotated" if header.plain else "unusual"
