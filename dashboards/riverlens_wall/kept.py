"""The last events as they were on Kafka, found by their frame's place. Pure."""

from __future__ import annotations

from collections import OrderedDict

from riverlens_wall.waiting import Place


class KeptEvents:
    """Keeps the newest values, as many as fit.

    Args:
        max_bytes: of the values, all together; the oldest give way.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Place, bytes] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def add(self, place: Place, value: bytes) -> None:
        """Keep one; a repeat replaces it."""
        self.nbytes += len(value) - len(self._values.pop(place, b""))
        self._values[place] = value
        while self.nbytes > self._max_bytes:
            _, gone = self._values.popitem(last=False)
            self.nbytes -= len(gone)

    def get(self, place: Place) -> bytes | None:
        """The event's JSON, or None where it has not come or is not kept any more."""
        return self._values.get(place)
