"""The resizer of model rows, held to Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from riverlens_worker.pixels import resized

SIDES = st.integers(1, 90)


@given(old=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 999))
def test_resized_pixels_are_pillows(old: tuple[int, int], new: tuple[int, int], seed: int) -> None:
    """Up or down, each way by its own factor: every value within 1 of Pillow's bilinear filter."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*old, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).resize(new, Image.Resampling.BILINEAR))
    ours = resized(pixels, *new)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("size", [(65_500, 1), (1, 65_500)])
def test_the_longest_sides_are_resized(size: tuple[int, int]) -> None:
    """As long as a JPEG's side can be, and one pixel wide: the colour stays."""
    pixels = np.full((*size, 3), 77, np.uint8)
    assert np.array_equal(resized(pixels, 300, 300), np.full((300, 300, 3), 77, np.uint8))


def test_pixels_in_any_order_of_memory_are_resized() -> None:
    """A mirrored view is read as it looks, not as it lies."""
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[:, ::-1]
    assert np.array_equal(resized(pixels, 6, 4), pixels)
