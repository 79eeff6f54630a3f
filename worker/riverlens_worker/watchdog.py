"""Whether work stands still while frames wait, and where. Pure: time is a parameter.

Two questions. Of the worker: frames wait, and for a while none was settled. Of each partition: it has open
or unread frames, and its lowest open offset has not moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PartitionReading:
    """One leased partition.

    Attributes:
        lease: tells this lease of the partition from earlier ones.
        mark: the lowest offset not settled; None before the first frame.
        waits: whether it has open frames, or unread ones on Kafka.
        oldest_s: age of its oldest open frame since capture; None where none is open.
    """

    partition: int
    lease: int
    mark: int | None
    waits: bool
    oldest_s: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The worker at one moment.

    Attributes:
        settled: frames settled since the start.
        unread: frames known to lie on Kafka unread.
        source, references, decode, batcher, predictor: frames held by these stages.
        publisher: results that the publisher has not taken.
        unacknowledged: events and dead letters that Kafka has not acknowledged.
        early: results that wait for an earlier frame of their partition.
        calls: Predict calls under way.
        excused: it is known and told why nothing can be settled: no model server, or the worker is stopping.
    """

    now_s: float
    settled: float
    unread: int = 0
    source: int = 0
    references: int = 0
    decode: int = 0
    batcher: int = 0
    predictor: int = 0
    publisher: int = 0
    unacknowledged: int = 0
    early: int = 0
    calls: int = 0
    excused: bool = False
    partitions: Sequence[PartitionReading] = ()

    @property
    def in_flight(self) -> int:
        """Frames inside the worker."""
        return sum(count for _, count in self.stages())

    def stages(self) -> list[tuple[str, int]]:
        """Frames by stage, in the order that they pass them."""
        return [
            ("source", self.source),
            ("references", self.references),
            ("decode", self.decode),
            ("batcher", self.batcher),
            ("predictor", self.predictor),
            ("publisher", self.publisher + self.unacknowledged + self.early),
        ]


def culprit(reading: Reading) -> str:
    """What holds the frames, in words: the last stage that has some, for all before it wait for room there.

    Results that wait for an earlier frame accuse nobody: that frame is somewhere before them.
    """
    r, calls, held = reading, reading.calls, reading.predictor
    kafka = "the publisher waits for Kafka"
    model = "the predictor waits for the model server"
    suspects = (
        (r.unacknowledged, f"{kafka} to acknowledge {r.unacknowledged} records; see that the brokers run"),
        (r.publisher, f"{kafka} before it takes {r.publisher} results; see that the brokers run"),
        (calls and held, f"{model}: {calls} calls with {held} frames have no answer; see predict_timeout_ms"),
        (held, f"{model}: none takes the {held} frames it holds now"),
        (r.batcher, f"the batcher holds {r.batcher} frames that no model server takes now"),
        (r.decode, f"decoding holds {r.decode} frames"),
        (r.references, f"{r.references} references are being fetched; see reference_timeout_ms"),
        (r.source, f"the source holds {r.source} frames that nobody takes"),
        (True, f"Kafka gives nothing of the {r.unread} frames that lie on it; see that the brokers run"),
    )
    return next(words for count, words in suspects if count)


class Watchdog:
    """Notices that nothing is settled while frames wait. Writer: one watching task."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._settled = -1.0
        self._since_s: float | None = None

    def look(self, reading: Reading) -> str:
        """Why work stands still, in words; "" while it goes on, nothing waits, or it is too early to say."""
        waits = (reading.in_flight > 0 or reading.unread > 0) and not reading.excused
        if not waits or reading.settled != self._settled or self._since_s is None:
            self._settled = reading.settled
            self._since_s = reading.now_s if waits else None
            return ""
        stands_s = reading.now_s - self._since_s
        if stands_s < self._timeout_s:
            return ""
        where = ", ".join(f"{stage} {count}" for stage, count in reading.stages() if count)
        return f"nothing settled for {stands_s:.0f} s: {culprit(reading)}" + (
            f" (frames by stage: {where})" if where else ""
        )


@dataclass(slots=True)
class _Standing:
    lease: int
    mark: int | None
    since_s: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Of the partitions: seconds each has stood still (0 where it works or has nothing to do), and news."""

    stalled_s: Mapping[int, float]
    stuck: Sequence[str] = ()
    freed: Sequence[int] = field(default=())


class PartitionWatch:
    """Notices partitions that stand still, each by itself. Writer: one watching task."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._standing: dict[int, _Standing] = {}

    def look(self, reading: Reading) -> Verdicts:
        """How long each partition has stood still; one line for each that has just done so for too long."""
        stalled_s: dict[int, float] = {}
        stuck, freed = [], []
        for each in reading.partitions:
            known = self._standing.get(each.partition)
            if known is None or (known.lease, known.mark) != (each.lease, each.mark) or not each.waits:
                if known is not None and known.told and known.lease == each.lease:
                    freed.append(each.partition)
                known = self._standing[each.partition] = _Standing(each.lease, each.mark, reading.now_s)
            stands_s = stalled_s[each.partition] = reading.now_s - known.since_s
            if stands_s >= self._timeout_s and not known.told and not reading.excused:
                known.told = True
                stuck.append(_told(each, stands_s))
        for gone in self._standing.keys() - stalled_s.keys():
            del self._standing[gone]
        return Verdicts(stalled_s, stuck, freed)


def _told(reading: PartitionReading, stands_s: float) -> str:
    if reading.mark is None or reading.oldest_s is None:
        return f"partition {reading.partition} gives no frames for {stands_s:.0f} s, though some lie on Kafka"
    return (
        f"partition {reading.partition} stands still for {stands_s:.0f} s at offset {reading.mark}: "
        f"its oldest frame is {reading.oldest_s:.0f} s old"
    )
