"""Which call runs when on exclusive devices. Pure: time is a parameter.

A batch begins at max(first call's arrival, device free), as computed: whoever wakes up late to ask for it
changes nothing. So the ceiling is exact, however coarse the sleeping is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from benchmarks.cost import Cost

CallId = int


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated.

    Attributes:
        cost: service time of one batch.
        devices: how many work side by side, each on one batch at a time.
        merge_rows: TensorFlow Serving's batching in front (batch_timeout_micros 0, a batch thread for each
            device, this max_batch_size): calls that wait share a batch of up to so many rows. None: every
            call is a batch of its own.
        factor: how many times slower than `cost` a batch is that begins now.
    """

    cost: Cost
    devices: int = 1
    merge_rows: int | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What a device ran: begun and ended at these seconds, for these calls together.

    Attributes:
        waited_s: how long the first call of them waited for the device.
    """

    begun_s: float
    ended_s: float
    rows: int
    calls: tuple[CallId, ...]
    device: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    call: CallId
    rows: int
    arrived_s: float


class Schedule:
    """The queue in front of the devices and what runs on them. Times never go back."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._waiting: deque[_Waiting] = deque()
        self._free_s = [float("-inf")] * setup.devices

    @property
    def waiting(self) -> int:
        """Calls that no device has begun yet."""
        return len(self._waiting)

    def refuses(self, rows: int) -> str | None:
        """TensorFlow Serving's text where a call is larger than its batches; else None."""
        most = self.setup.merge_rows
        if most is not None and rows > most:
            return f"Task size {rows} is larger than maximum input batch size {most}"
        return None

    def add(self, call: CallId, rows: int, now_s: float) -> None:
        """A call has arrived."""
        self._waiting.append(_Waiting(call, rows, now_s))

    def begin(self, now_s: float) -> list[Batch]:
        """The batches that have begun by now and were not told yet, in order."""
        begun = []
        while (due_s := self.begins_s()) is not None and due_s <= now_s:
            begun.append(self._run(due_s))
        return begun

    def begins_s(self) -> float | None:
        """When the next batch begins; None while nothing waits."""
        if not self._waiting:
            return None
        return max(self._waiting[0].arrived_s, min(self._free_s))

    def change(self, setup: Setup) -> None:
        """From now on this is simulated; batches under way end as they were told to.

        Raises:
            ValueError: another number of devices.
        """
        if setup.devices != self.setup.devices:
            raise ValueError("the number of devices is fixed at the start")
        self.setup = setup

    def _run(self, begun_s: float) -> Batch:
        members = [self._waiting.popleft()]
        rows = members[0].rows
        most = self.setup.merge_rows
        while most is not None and self._fits(rows, most, begun_s):
            members.append(self._waiting.popleft())
            rows += members[-1].rows
        device = min(range(len(self._free_s)), key=self._free_s.__getitem__)
        ended_s = begun_s + self.setup.cost.service_s(rows, self.setup.factor)
        self._free_s[device] = ended_s
        calls = tuple(member.call for member in members)
        return Batch(begun_s, ended_s, rows, calls, device, begun_s - members[0].arrived_s)

    def _fits(self, rows: int, most: int, begun_s: float) -> bool:
        """Whether the next call had arrived when the batch began, and has room in it."""
        if not self._waiting:
            return False
        first = self._waiting[0]
        return first.arrived_s <= begun_s and rows + first.rows <= most
