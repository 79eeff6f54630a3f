"""Real images, changed at random: what a broken camera, disk or attacker sends."""

from __future__ import annotations

import random
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from tests.worker_parts import encode, scene


@cache
def seeds() -> tuple[bytes, ...]:
    """Small good files of every format and kind."""
    pixels = scene(40, 24)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "seen from the bridge"
    alpha = np.dstack([pixels, pixels[:, :, 0]])
    deep = pixels[:, :, 0].astype(np.uint16) * 257
    animated, palette, cmyk = BytesIO(), BytesIO(), BytesIO()
    picture = Image.fromarray(pixels)
    picture.save(animated, "PNG", save_all=True, append_images=[Image.fromarray(pixels[::-1])])
    picture.convert("P").save(palette, "PNG", transparency=3)
    picture.convert("CMYK").save(cmyk, "JPEG")
    return (
        encode(pixels, "JPEG"),
        encode(pixels, "JPEG", progressive=True, exif=exif),
        encode(pixels[:, :, 0], "JPEG"),
        encode(pixels, "PNG", exif=exif),
        encode(deep, "PNG"),
        encode(alpha, "PNG"),
        encode(pixels, "WEBP", exif=exif),
        encode(alpha, "WEBP", lossless=True),
        encode(pixels, "GIF"),
        encode(pixels, "BMP"),
        *(encode(pixels, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")),
        encode(pixels[:, :, 0] > 100, "TIFF", compression="group4", exif=exif),
        *(file.getvalue() for file in (animated, palette, cmyk)),
    )


EDITS = ("set", "set", "set", "cut", "insert", "repeat", "end")


def mutated(image: bytes, chance: random.Random) -> bytes:
    """One to four edits, most of them in front, where headers are."""
    for _ in range(chance.randint(1, 4)):
        at = int(len(image) * chance.random() ** 2)  # headers are in front
        text = chance.choice([b"\0", b"\xff", b"\x7f", chance.randbytes(1), chance.randbytes(4)])
        before, after = image[:at], image[at:]
        image = {
            "set": before + text + after[len(text) :],
            "cut": before + after[len(text) * 4 :],
            "insert": before + text + after,
            "repeat": before + after[: chance.randint(1, 40)] + after,
            "end": before,
        }[chance.choice(EDITS)]
    return image
