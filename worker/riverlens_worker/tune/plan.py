"""What to measure: sizes, ways of sending, loads to begin with, and when frames arrive. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Dispatch = Literal["just-in-time", "at-once"]

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
_LARGER = (320, 384, 448, 512, 640, 768, 896, 1024)
_HEADROOM = 0.95
"""Part of full batches' rate that a queue bears: at all of it, it only grows."""
_AS_GOOD = 0.98
_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings of the worker that are tried together."""

    rows: int
    calls: int
    dispatch: Dispatch

    def text(self) -> str:
        """For a person."""
        return f"batches of {self.rows}, {self.calls} call{'s' if self.calls > 1 else ''}, {self.dispatch}"


@dataclass(frozen=True, slots=True)
class Server:
    """What was measured of the model server, calls sent one at a time.

    Attributes:
        a_s, b_s: seconds of a call, the way there and back included, and of each of its rows.
        devices: how many calls it works on at once.
        sizes: rows of calls that are worth trying, rising: what it takes, without padding.
    """

    a_s: float
    b_s: float
    devices: int
    sizes: Sequence[int]

    def seconds(self, rows: float) -> float:
        """A call of `rows` rows on an idle server."""
        return self.a_s + self.b_s * rows

    def frames_per_s(self, rows: int) -> float:
        """All devices together, never waiting, in calls of `rows` rows."""
        return self.devices * rows / self.seconds(rows)


def sizes(most: int, fixed: int | None = None) -> list[int]:
    """Rows of the calls to time; `fixed`: the model takes just so many."""
    if fixed is not None:
        return [fixed]
    return sorted({size for size in (*_SIZES, *_LARGER) if size < most} | {most})


def sustainable_per_s(server: Server, rows: int, target_s: float) -> float:
    """Frames a second that batches of at most `rows` should carry within the target.

    In the steady state a device's batch holds what arrived during the one before, m = load * S(m) / devices,
    and the unluckiest frame waits for the next device to be free and then for its own batch:
    S(m) * (1 + 1/devices).
    """
    most_s = target_s / (1 + 1 / server.devices)
    if server.seconds(1) > most_s:
        return 0.0
    bearable = rows if server.b_s == 0 else min(float(rows), (most_s - server.a_s) / server.b_s)
    load = server.devices * bearable / server.seconds(bearable)
    return min(load, _HEADROOM * server.frames_per_s(rows))


def best_size(server: Server, target_s: float) -> int:
    """The smallest size that should carry as much as any."""
    expected = [(sustainable_per_s(server, rows, target_s), rows) for rows in server.sizes]
    most = max(expected)[0]
    return min(rows for load, rows in expected if load >= _AS_GOOD * most)


def first_load_per_s(server: Server, rows: int, target_s: float) -> float:
    """Where the search begins; never nothing, though the target seem out of reach."""
    return max(sustainable_per_s(server, rows, target_s), 0.3 * server.devices / server.seconds(1))


def ways(devices: int, rows: int, most_calls: int) -> list[Candidate]:
    """Ways of sending, the likeliest first; of two that carry as much, the earlier one is kept.

    A device each has a call, and perhaps one more waits for the first of them to be free.
    """
    found = [Candidate(rows, min(calls, most_calls), dispatch) for dispatch, calls in _pairs(devices)]
    return list(dict.fromkeys(found))


def _pairs(devices: int) -> list[tuple[Dispatch, int]]:
    if devices == 1:
        return [("just-in-time", 2), ("just-in-time", 3), ("at-once", 1), ("at-once", 2)]
    return [
        ("at-once", devices + 1),
        ("just-in-time", devices + 1),
        ("at-once", devices),
        ("just-in-time", devices),
    ]


def rivals(best: Candidate, best_per_s: float, server: Server, most_calls: int) -> list[Candidate]:
    """What may carry more than the best of all ways of sending at one size, the likeliest first.

    Batches that are only just large enough are all full: several devices then work in even turns, which
    larger limits do not bring about. And the best way itself, with the next larger and smaller batches.
    """
    found: list[Candidate] = []
    enough = [rows for rows in server.sizes if server.frames_per_s(rows) >= best_per_s]
    for dispatch, calls in _pairs(server.devices)[:2] if enough else ():
        found.append(Candidate(min(enough), min(calls, most_calls), dispatch))
    if best.rows in server.sizes:
        place = list(server.sizes).index(best.rows)
        near = [*server.sizes[place + 1 : place + 2], *server.sizes[max(0, place - 1) : place]]
        found += [Candidate(rows, best.calls, best.dispatch) for rows in near]
    return list(dict.fromkeys(found))


def arrivals(per_s: float, seconds: float, cameras: int, seed: int = 1) -> list[float]:
    """When frames come, seconds from the start, rising: the same for every candidate.

    Each camera sends at even times, in a phase of its own, every frame early or late by up to a tenth of
    the period.
    """
    dice = random.Random(seed)  # noqa: S311  # repeatable on purpose
    period_s = cameras / per_s
    found = []
    for _ in range(cameras):
        due_s = dice.random() * period_s
        while due_s < seconds:
            found.append(max(0.0, due_s + dice.uniform(-_JITTER, _JITTER) * period_s))
            due_s += period_s
    return sorted(found)
