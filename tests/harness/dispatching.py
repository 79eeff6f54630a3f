"""Dispatch in simulated time: one device, calls that queue for it, frames that arrive; and the oracle."""

from __future__ import annotations

import random
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from riverlens_worker.endpoint_load import EndpointLoad, next_due_s, order
from riverlens_worker.expectation import Call

MOST_ROWS = 32


@dataclass(frozen=True, slots=True)
class Device:
    """Cost a + b*n seconds, transport there and back in seconds, and noise as a share of the cost.

    `sending_s`: what the way there takes longer with each row.
    """

    a_s: float
    b_s: float
    transport_s: float
    noise: float = 0.0
    slower: Callable[[float], float] = field(default=lambda _: 1.0)
    sending_s: float = 0.0

    def seconds(self, rows: int, at_s: float, dice: random.Random) -> float:
        """Service time of a batch that begins at `at_s`."""
        return (self.a_s + self.b_s * rows) * self.slower(at_s) * (1 + self.noise * dice.uniform(-1, 1))


def cameras(rate_per_s: float, seconds: float, dice: random.Random, count: int = 16) -> list[float]:
    """Arrival times of `count` cameras of equal rate, each with its own phase and a little jitter."""
    period_s = count / rate_per_s
    times = [
        (n + dice.random() * 0.02 + phase) * period_s
        for phase in (dice.random() for _ in range(count))
        for n in range(int(seconds / period_s))
    ]
    return sorted(times)


def oracle(arrivals: Sequence[float], device: Device, dice: random.Random) -> list[float]:
    """Latency of each frame where a batch leaves at max(first frame's arrival, device free - transport)."""
    latencies: list[float] = []
    place, free_s = 0, 0.0
    there_s = device.transport_s / 2
    while place < len(arrivals):
        leaves_s = max(arrivals[place], free_s - there_s)
        end = min(bisect_right(arrivals, leaves_s), place + MOST_ROWS)
        begin_s = max(leaves_s + there_s, free_s)
        free_s = begin_s + device.seconds(end - place, begin_s, dice)
        latencies += [free_s + there_s - arrival for arrival in arrivals[place:end]]
        place = end
    return latencies


@dataclass(slots=True)
class Server:
    """One of several servers: its device, what the worker knows of it, and when its device is free."""

    device: Device
    load: EndpointLoad
    free_s: float = 0.0
    rows: int = 0

    def start(
        self, rows: int, now_s: float, dice: random.Random, *, full: bool, ready_s: float
    ) -> tuple[float, Call]:
        """When it answers, and the call."""
        there_s = self.device.transport_s / 2
        begin_s = max(now_s + there_s + self.device.sending_s * rows, self.free_s)
        self.free_s = begin_s + self.device.seconds(rows, begin_s, dice)
        self.rows += rows
        return self.free_s + there_s, self.load.start(rows, now_s, full=full, ready_s=ready_s)


def dispatched(
    arrivals: Sequence[float], device: Device, dice: random.Random, late_s: float = 0.001
) -> list[float]:
    """Latency of each frame with one server; timers are up to `late_s` late."""
    return dispatched_among(arrivals, [Server(device, EndpointLoad(2))], dice, late_s)


def dispatched_among(
    arrivals: Sequence[float], servers: Sequence[Server], dice: random.Random, late_s: float = 0.001
) -> list[float]:
    """Latency of each frame where the worker chooses among `servers`, as its predictor does."""
    latencies: list[float] = []
    answers: list[tuple[float, int, Call]] = []
    loads = [server.load for server in servers]
    place, now_s = 0, 0.0
    while place < len(arrivals):
        now_s = max(now_s, arrivals[place])
        while answers and answers[0][0] <= now_s:
            answer_s, which, call = answers.pop(0)
            loads[which].passed(call, answer_s)
            loads[which].end(call)
        waiting = bisect_right(arrivals, now_s) - place
        due_s = next_due_s(loads, now_s, full=waiting >= MOST_ROWS)
        if due_s > now_s:
            fills = place + MOST_ROWS - 1
            filled_s = arrivals[fills] if waiting < MOST_ROWS and fills < len(arrivals) else float("inf")
            timer_s = due_s + dice.random() * late_s
            now_s = min(timer_s, answers[0][0] if answers else float("inf"), max(filled_s, now_s + 1e-9))
            continue
        rows = min(max(waiting, 1), MOST_ROWS)
        roomy = [load for load in loads if load.has_room(now_s)]
        first = roomy[order(roomy, rows, now_s)[0]].first_rows(rows)
        for size in (first, rows - first)[: 1 + (first < rows)]:
            room = [n for n, load in enumerate(loads) if load.has_room(now_s)]
            which = room[order([loads[n] for n in room], size, now_s)[0]]
            answer_s, call = servers[which].start(
                size, now_s, dice, full=rows >= MOST_ROWS, ready_s=arrivals[place]
            )
            insort(answers, (answer_s, which, call), key=itemgetter(0))
            latencies += [answer_s - arrival for arrival in arrivals[place : place + size]]
            place += size
    return latencies


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
