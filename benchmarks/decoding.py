"""What decoding alone costs, in the same minute as the stacks that decode. Shell."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.stacks.detector import decode

_ROUNDS = 12


def decode_cpu_ms(images: Sequence[bytes]) -> float:
    """CPU milliseconds of an image, JPEG to uint8 [320,320,3], as the comparison stacks do it; one thread."""
    for image in images:
        decode(image)
    begun_s = time.thread_time()
    for _ in range(_ROUNDS):
        for image in images:
            decode(image)
    return (time.thread_time() - begun_s) * 1000 / (_ROUNDS * len(images))
