"""Full calls in simulated time: a device with more than enough to do is kept busy."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from tests.harness.dispatching import MOST_ROWS, Device, cameras, dispatched
from tests.unit.test_worker_dispatch import FAST, SLOW, ceiling


@pytest.mark.parametrize("device", [SLOW, FAST], ids=["slow", "fast"])
def test_saturation_keeps_the_device_busy(device: Device) -> None:
    """With more frames than it can take, the device works at 98 % of its ceiling or more."""
    dice = random.Random(2)  # noqa: S311  # the same load in each run
    frames = 4_000
    latencies = dispatched([0.0] * frames, device, dice)
    assert frames / max(latencies) >= 0.98 * ceiling(device)


def _rate_after_learning(device: Device, seed: int) -> float:
    """Frames a second at saturation, after a third of the load and the first hundred full calls."""
    dice = random.Random(seed)  # noqa: S311  # the same loads in each run
    paced = cameras(0.3 * ceiling(device), 30.0, dice)
    frames = 600 * MOST_ROWS
    latencies = dispatched([*paced, *[paced[-1]] * frames], device, dice)
    first, last = (max(latencies[: len(paced) + part]) for part in (100 * MOST_ROWS, frames))
    return (frames - 100 * MOST_ROWS) / (last - first)


@pytest.mark.parametrize(("sending_ms", "share"), [(8, 0.98), (16, 0.98), (32, 0.95)])
def test_calls_that_take_long_to_send_keep_the_device_busy(sending_ms: float, share: float) -> None:
    """What free calls at a third of the load tell of the way is too little for full ones.

    The mean of several loads: how much too little is a matter of which calls were the last free ones.
    """
    device = replace(SLOW, sending_s=sending_ms / 1000 / MOST_ROWS)
    assert fmean(_rate_after_learning(device, seed) for seed in (1, 2, 3, 4)) >= share * ceiling(device)
