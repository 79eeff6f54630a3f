"""Random choices that are the same in every process, on every machine, for the same words.

Python's `hash()` differs from process to process, and `random.Random`'s helpers may change between Python
versions; here a BLAKE2 digest of the seed's parts starts a PCG64 stream, and only its uniform doubles are used.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Dice:
    """One stream of choices, fixed by `parts` (`Dice("lobby", "lane", 2)`); equal parts give equal streams."""

    def __init__(self, *parts: str | int) -> None:
        text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        self._stream = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def between(self, low: float, high: float) -> float:
        """A uniform number in [low, high)."""
        return low + (high - low) * float(self._stream.random())

    def whole(self, low: int, high: int) -> int:
        """A uniform whole number from `low` to `high`, both included."""
        return low + int(self._stream.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability (0 to 1)."""
        return float(self._stream.random()) < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, each as likely as the others; IndexError where there is none."""
        return choices[int(self._stream.random() * len(choices))]

    def field(self, *shape: int) -> np.ndarray:
        """float32 [*shape], uniform in [0, 1)."""
        return self._stream.random(shape, dtype=np.float32)
