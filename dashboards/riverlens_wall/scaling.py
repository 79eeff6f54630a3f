"""A frame made small enough for a tile. Pure: bytes in, bytes out; for a thread, because it blocks."""

from __future__ import annotations

import warnings
from io import BytesIO

from PIL import Image, ImageOps

from riverlens_wall.looks import MAX_PIXELS, Look

PASSED_BYTES = 100 * 1024
PASSED_PIXELS = 1920 * 1200
"""Images up to these sizes go to the browser as they are: it scales better and costs us nothing. Decoded, an
image takes 4 bytes a pixel there, and there may be 64."""
_QUALITY = 78
_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
    "image/gif": "GIF",
}

# What is odd about somebody's image is no news on our standard error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Pillow's own limit is one for the whole process, in which others may have theirs; ours is checked below.
Image.MAX_IMAGE_PIXELS = None


class UnscalableError(Exception):
    """It cannot be decoded; the message says why."""


def goes_as_it_is(image: bytes, look: Look) -> bool:
    """Whether a browser gets the image unscaled."""
    small = look.size is not None and look.size[0] * look.size[1] <= PASSED_PIXELS
    return small and len(image) <= PASSED_BYTES


def scaled(image: bytes, look: Look, width: int) -> bytes:
    """A JPEG, upright, of at most `width` pixels across (and as many down).

    Raises:
        UnscalableError: whatever the bytes do to a decoder.
    """
    try:
        with Image.open(BytesIO(image), formats=[_FORMATS[look.mime]]) as opened:
            _check_pixels(opened)
            # Half, a quarter or an eighth are nearly free in a JPEG: the rest is scaled after decoding.
            opened.draft("RGB", (width, width))
            upright = ImageOps.exif_transpose(opened)
            upright.thumbnail((width, width), Image.Resampling.BILINEAR, reducing_gap=None)
            output = BytesIO()
            upright.convert("RGB").save(output, "JPEG", quality=_QUALITY)
    except Exception as error:  # noqa: BLE001  # hostile bytes raise almost anything in a decoder
        raise UnscalableError(f"cannot be decoded: {type(error).__name__}") from None
    return output.getvalue()


def _check_pixels(opened: Image.Image) -> None:
    """Raise where the image itself is larger than the header that was looked at says."""
    if opened.width * opened.height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{opened.width} x {opened.height} pixels")
