"""What decoding alone costs, in the same minute as the stacks that decode. Shell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.stacks.detector import SIDE, Pixels

_ROUNDS = 15


def decode(image: bytes) -> Pixels:
    """A JPEG of 640x480 as uint8 [320,320,3] in the cheapest way known.

    libjpeg-turbo scales by 1/2, 1/4 and 1/8 with SIMD, by 6/8 without: reading all of it is quicker.
    """
    pixels = simplejpeg.decode_jpeg(image, "RGB", fastdct=True, fastupsample=True)
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST))


def decode_cpu_ms(images: Sequence[bytes]) -> float:
    """CPU milliseconds of an image, one thread, nothing else of the measurement running; median of rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        begun_s = time.thread_time()
        for image in images:
            decode(image)
        rounds.append((time.thread_time() - begun_s) * 1000 / len(images))
    return median(rounds)
