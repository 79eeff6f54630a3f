"""How many rows a call should hold where one poisonous frame fails the whole call. Pure.

Group testing: large calls are cheap a row but fail often, and a failed one costs further calls until its
guilty frame is found. What is cheapest follows from how frequent poison is and what the device costs.
"""

from __future__ import annotations


class GuiltRate:
    """The share of frames that the model refuses, older ones fading out."""

    def __init__(self, fade_frames: int = 1_000) -> None:
        self._fade_frames = fade_frames
        self._frames = 0.0
        self._guilty = 0.0

    def add(self, frames: int, guilty: int = 0) -> None:
        """`frames` more were decided, `guilty` of them refused."""
        keep = max(0.0, 1 - frames / self._fade_frames)
        self._frames = self._frames * keep + frames
        self._guilty = self._guilty * keep + guilty

    @property
    def share(self) -> float:
        """Between 0 and 1; 0 before anything was decided."""
        return self._guilty / self._frames if self._frames else 0.0


def cost_per_frame(share: float, a: float, b: float, most: int) -> list[float]:
    """Expected device time of one frame in calls of 1, 2, ... `most` rows.

    A refused call's first half is asked next: if it passes, the other half is guilty without asking; if it
    is refused, nothing is known of the other half. `a + b*n` is the cost of a call of n rows.
    """
    single = a + b
    # After a call of that many rows: of frames nothing is known of; refused; known to be guilty unasked.
    unknown, refused, inferred = [0.0], [0.0], [0.0]
    for rows in range(1, most + 1):
        chance = 1 - (1 - share) ** rows
        found, unasked = single, 2 * single  # a single frame is asked twice before it is given up
        if rows > 1:
            half = rows // 2
            first = min(1.0, (1 - (1 - share) ** half) / chance) if chance else 0.0
            found = a + b * half + first * (refused[half] + unknown[rows - half])
            found += (1 - first) * inferred[rows - half]
            unasked = found
        refused.append(found)
        inferred.append(unasked)
        unknown.append(a + b * rows + chance * found)
    return [unknown[rows] / rows for rows in range(1, most + 1)]


def best_rows(share: float, cost: tuple[float, float] | None, most: int) -> int:
    """Rows of the cheapest call: `most`, or a half, a quarter, ... of it; `cost` is (a, b)."""
    if share <= 0 or cost is None or most <= 1:
        return most
    costs = cost_per_frame(share, *cost, most)
    candidates = [most]
    while candidates[-1] > 1:
        candidates.append(candidates[-1] // 2)
    return min(candidates, key=lambda rows: costs[rows - 1])
