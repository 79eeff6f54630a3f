"""Synthetic streets with their truth: what the demo's cameras see, what its detector learns from.

`Street(camera, width, height)` is a street before one camera; `.frame(sequence)` is a moment of it and
`truth_of` what is in that moment, without drawing it. The names and numbers alone fix it, on every machine.
"""

from __future__ import annotations

from functools import lru_cache

from riverlens.scenes.street import Street
from riverlens.scenes.truth import LABELS, Scene, SceneObject

__all__ = ["LABELS", "Scene", "SceneObject", "Street", "truth_of"]


@lru_cache(maxsize=64)
def _street(camera: str, width: int, height: int) -> Street:
    return Street(camera, width, height)


def truth_of(camera: str, sequence: int, width: int, height: int) -> tuple[SceneObject, ...]:
    """What the camera sees at `sequence`, the farthest first."""
    return _street(camera, width, height).truth(sequence)
