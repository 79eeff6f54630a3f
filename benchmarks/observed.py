"""What was seen of one run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenario import Scenario

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]
Window = tuple[float, float]
"""From and to, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Frames that the feed sent, in order of time; equal lengths.

    Attributes:
        partition, offset: where each lies.
        camera: whose it is, from 0.
        at_s: when it was sent, seconds since the epoch.
        late_s: how much later than planned.
    """

    partition: Whole
    offset: Whole
    camera: Whole
    at_s: Numbers
    late_s: Numbers


@dataclass(frozen=True, slots=True)
class Seen:
    """Events as they lie on their topic, in order of their append time; equal lengths.

    Attributes:
        partition, offset: of the frame that each is of.
        appended_s: seconds since the epoch, in whole milliseconds.
        disorder: events that came after one of a later frame of their partition.
    """

    partition: Whole
    offset: Whole
    appended_s: Numbers
    disorder: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have used.

    Attributes:
        at_s: when, seconds since the epoch.
        cpu_s: user and system time so far.
        rss_bytes: resident memory now.
        machine_cpu_s: what all processes of the machine have used so far.
    """

    at_s: float
    cpu_s: float
    rss_bytes: int
    machine_cpu_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """All that was seen of one stack in one scenario.

    Attributes:
        sent: None where the topic was filled beforehand.
        expected: events that should come in the end.
        usage: of the stack's processes, over time.
        others: of all else that belongs to the measurement, over time: `kafka`, `device`, `feed`.
        device: what each simulated server reported.
        started_s, ready_s: when its processes were started, and when they could take frames.
        rss_start_bytes, rss_peak_bytes: when it was ready; the most ever.
        changed_s: when the devices became slower, or None.
        published: events by worker since all were ready.
        stages_ms: how long a frame was in each stage of the worker, by its own metrics, mean of all.
        decode_cpu_ms: CPU of decoding one image and nothing else, where the stack decodes.
    """

    scenario: Scenario
    stack: str
    sent: Sent | None
    seen: Seen
    expected: int
    usage: Sequence[Usage]
    others: Mapping[str, Sequence[Usage]]
    device: Sequence[Mapping[str, Any]]
    started_s: float
    ready_s: float
    rss_start_bytes: int
    rss_peak_bytes: int
    changed_s: float | None = None
    published: Sequence[float] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    decode_cpu_ms: float | None = None


def within(times_s: Numbers, window: Window) -> NDArray[np.bool_]:
    """Which of these times lie in the window."""
    return (times_s >= window[0]) & (times_s < window[1])
