"""Pairs of calls as the dispatch sees them once both are answered."""

from __future__ import annotations

from riverlens_worker.pair import Pair


def told(gap_s: float, beside: int = 1, device_s: float = 0.04) -> Pair:
    """A pair whose second call should take `device_s`."""
    return Pair(gap_s, 0.0, device_s + gap_s, device_s, device_s + 0.002, beside)
