"""Reads the events back from Kafka, as a consumer would, and keeps what the table and the summary show."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from riverlens.event import Event, read_event
from riverlens.kafka import KafkaSettings, connect

_WINDOW_S = 10.0
_KEPT_EVENTS = 20_000
_POLL_MS = 200


@dataclass(slots=True)
class Seen:
    """What came out so far.

    Attributes:
        events: the last 20,000 events, for the score and the pictures.
        recent: (arrival on the monotonic clock, capture-to-event ms, camera) of the last ten seconds.
        repeats: events whose id was seen before.
        inversions: events that came after a later one of their partition.
    """

    count: int = 0
    repeats: int = 0
    inversions: int = 0
    first_s: float | None = None
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))
    recent: deque[tuple[float, float, str]] = field(default_factory=deque)
    cameras: Counter[str] = field(default_factory=Counter)
    batch_sizes: Counter[int] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))
    ids: dict[tuple[int, int], None] = field(default_factory=dict)
    last_offset: dict[int, int] = field(default_factory=dict)

    def add(self, event: Event, written_ms: int, now_s: float) -> None:
        """Note one event; `written_ms` is its record's timestamp, when it was written."""
        origin = event.origin
        last = self.last_offset.get(origin.partition, -1)
        if origin.offset <= last and (origin.partition, origin.offset) in self.ids:
            self.repeats += 1
            return
        if origin.offset < last:
            self.inversions += 1
        self.last_offset[origin.partition] = max(origin.offset, last)
        self._remember((origin.partition, origin.offset))
        latency_ms = max(0.0, float(written_ms - event.captured_at_ms))
        self.first_s = now_s if self.first_s is None else self.first_s
        self.count += 1
        self.events.append(event)
        self.cameras[event.camera_id] += 1
        self.batch_sizes[event.batch_size] += 1
        self.latencies_ms.append(latency_ms)
        self.recent.append((now_s, latency_ms, event.camera_id))
        while self.recent and self.recent[0][0] < now_s - _WINDOW_S:
            self.recent.popleft()

    def _remember(self, place: tuple[int, int]) -> None:
        """Places of the last events: a repeat comes soon, and a demo may run for days."""
        self.ids[place] = None
        if len(self.ids) > 5 * _KEPT_EVENTS:
            del self.ids[next(iter(self.ids))]

    def mean_batch(self) -> float:
        """Mean rows of the calls so far: a call of n rows gave n events."""
        calls = sum(events / size for size, events in self.batch_sizes.items())
        return self.count / calls if calls else 0.0

    def rates(self, now_s: float) -> dict[str, float]:
        """Events a second of each camera over the last ten seconds."""
        start_s = max(now_s - _WINDOW_S, self.first_s if self.first_s is not None else now_s)
        passed_s = max(now_s - start_s, 1.0)
        counted = Counter(camera for at_s, _, camera in self.recent if at_s >= start_s)
        return {camera: counted[camera] / passed_s for camera in sorted(self.cameras)}


def percentile(values: list[float], share: float) -> float | None:
    """The value that `share` (0..1) of the values do not exceed; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Observer:
    """A consumer of the events topic without a group: it reads everything from the beginning."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.seen = Seen()
        self._kafka = kafka
        self._topic = topic
        self._consumer: Any = None

    async def start(self) -> None:
        """Connect and begin at the first event."""
        self._consumer = AIOKafkaConsumer(
            self._topic,
            **self._kafka.client_options(),
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await connect(self._kafka, self._consumer.start())

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.read()

    async def read(self) -> int:
        """Read what is there, waiting up to 200 ms; returns how many events it was."""
        polled = await self._consumer.getmany(timeout_ms=_POLL_MS)
        now_s = time.monotonic()
        records = [record for batch in polled.values() for record in batch]
        for record in records:
            event = read_event(record.value, record.headers)
            if isinstance(event, Event):
                self.seen.add(event, record.timestamp, now_s)
        return len(records)

    async def read_to_end(self) -> None:
        """Read everything that is on the topic now."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while [place for place, end in ends.items() if await self._consumer.position(place) < end]:
            await self.read()

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def fetch_image(self, event: Event) -> bytes:
        """The frame of an event, read back from its topic by its offset."""
        origin = event.origin
        place = TopicPartition(origin.topic, origin.partition)
        consumer = AIOKafkaConsumer(**self._kafka.client_options(), enable_auto_commit=False)
        await connect(self._kafka, consumer.start())
        try:
            consumer.assign([place])
            consumer.seek(place, origin.offset)
            record = await consumer.getone(place)
        finally:
            await consumer.stop()
        image: bytes = record.value
        return image
