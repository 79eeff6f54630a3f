"""What a device costs by the call and by the row, where its answers no longer tell them apart."""

from __future__ import annotations

import pytest

from riverlens_worker.device import ServiceTimeFit


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_what_calls_of_other_sizes_told_is_not_forgotten(times: float) -> None:
    """Only full calls since, of a device as before or three times slower: small ones are known still."""
    fit = ServiceTimeFit()
    for rows in [16, 32, 8, 16, 32, 16, 8, 16, *[32] * 30]:
        fit.add(rows, 0.020 + 0.003 * rows)
    for _ in range(300):
        fit.add(32, times * 0.116)
    assert fit.cost() == pytest.approx((times * 0.020, times * 0.003), rel=0.05)


@pytest.mark.parametrize("slow", [[0.2, 0.3, 0.25, 0.4, 0.2, 0.3, 0.5, 0.2], [0.348] * 20])
def test_full_calls_alone_take_no_proportions_away(slow: list[float]) -> None:
    """A machine that stood still, or a device slow for a while: afterwards all is as before."""
    fit = ServiceTimeFit()
    for rows in [16, 32, 8, 16, 32, 16, 8, 16, *[32] * 80]:
        fit.add(rows, 0.020 + 0.003 * rows)
    for service_s in [*slow, *[0.116] * 300]:
        fit.add(32, service_s)
    assert fit.cost() == pytest.approx((0.020, 0.003), rel=0.05)


def test_another_device_has_proportions_of_its_own() -> None:
    """Small calls now cost as much as large ones did: what was known is not held against it."""
    fit = ServiceTimeFit()
    for rows in [16, 32, 8, 16, 32, 16, 8, 16, *[32] * 20]:
        fit.add(rows, 0.020 + 0.003 * rows)
    for rows in [8, 16] * 10:
        fit.add(rows, 0.4)
    for _ in range(100):
        fit.add(8, 0.4)
    cost = fit.cost()
    assert cost is not None
    assert cost[0] == pytest.approx(0.4, rel=0.1)


def test_what_was_forgotten_tells_nothing_of_other_sizes() -> None:
    """It was another server's cost: with one row count all is taken to be per row again."""
    fit = ServiceTimeFit()
    for rows in [16, 32, 8, 16, 32, 16, 8, 16]:
        fit.add(rows, 0.020 + 0.003 * rows)
    assert fit.cost() == pytest.approx((0.020, 0.003), rel=0.05)
    fit.forget()
    for _ in range(5):
        fit.add(32, 0.116)
    assert fit.cost() == pytest.approx((0.0, 0.116 / 32))
