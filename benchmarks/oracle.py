"""What nobody can beat by much: when each frame is answered if batches leave at the very best moment. Pure.

A batch leaves at max(first frame's arrival, device free - t) with all frames that wait then, up to a limit;
t is the transport to the device, which the answer travels back as well. A search over thresholds (wait for
k frames, or tau) beats that by 3 % at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Cost, Speeds

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ideal:
    """What the oracle knows of the device.

    Attributes:
        cost: of a batch.
        transport_s: of a batch to the device, and of its answers back.
        max_rows: of a batch.
        devices: exclusive ones that share the queue.
        speeds: when the device is slower, by its own clock (that of the arrivals).
    """

    cost: Cost
    transport_s: float = 0.002
    max_rows: int = 32
    devices: int = 1
    speeds: Speeds = field(default_factory=Speeds)


def pooled(arrivals_s: Sequence[float] | Seconds, ideal: Ideal) -> Seconds:
    """When each frame's answer is back, with one queue for all; `arrivals_s` must rise.

    Several workers behind a server that merges their calls are meant to be as good as this.
    """
    arrivals = np.asarray(arrivals_s, dtype=np.float64)
    answered = np.empty_like(arrivals)
    free_s = [float("-inf")] * ideal.devices
    first = 0
    while first < len(arrivals):
        device = min(range(ideal.devices), key=free_s.__getitem__)
        leaves_s = max(float(arrivals[first]), free_s[device] - ideal.transport_s)
        waiting = int(np.searchsorted(arrivals, leaves_s, side="right")) - first
        rows = min(max(waiting, 1), ideal.max_rows)
        free_s[device] = _ends_s(leaves_s, free_s[device], rows, ideal)
        answered[first : first + rows] = free_s[device] + ideal.transport_s
        first += rows
    return answered


def split(arrivals_s: Sequence[float] | Seconds, queues: Sequence[int], ideal: Ideal) -> Seconds:
    """The same with a queue for each worker, taking ideal turns on the devices.

    Args:
        arrivals_s: must rise.
        queues: which worker gets each frame, from 0.
        ideal: the devices.
    """
    arrivals = np.asarray(arrivals_s, dtype=np.float64)
    owners = np.asarray(queues)
    answered = np.empty_like(arrivals)
    own = [np.flatnonzero(owners == queue) for queue in range(int(owners.max(initial=-1)) + 1)]
    heads = [0] * len(own)
    free_s = [float("-inf")] * ideal.devices
    turn = 0
    while any(head < len(frames) for head, frames in zip(heads, own, strict=True)):
        device = min(range(ideal.devices), key=free_s.__getitem__)
        firsts = [
            float(arrivals[frames[head]]) if head < len(frames) else float("inf")
            for head, frames in zip(heads, own, strict=True)
        ]
        leaves_s = max(min(firsts), free_s[device] - ideal.transport_s)
        queue = next(q for step in range(len(own)) if firsts[q := (turn + step) % len(own)] <= leaves_s)
        turn = queue + 1
        frames, head = own[queue], heads[queue]
        waiting = int(np.searchsorted(arrivals[frames], leaves_s, side="right")) - head
        rows = min(max(waiting, 1), ideal.max_rows)
        free_s[device] = _ends_s(leaves_s, free_s[device], rows, ideal)
        answered[frames[head : head + rows]] = free_s[device] + ideal.transport_s
        heads[queue] += rows
    return answered


def _ends_s(leaves_s: float, free_s: float, rows: int, ideal: Ideal) -> float:
    begins_s = max(leaves_s + ideal.transport_s, free_s)
    return begins_s + ideal.cost.service_s(rows, ideal.speeds.factor(begins_s))
