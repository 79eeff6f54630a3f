"""What the check has seen. Values only; times in milliseconds since the epoch unless named otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto


class Right(IntEnum):
    """Kafka's numbers of operations; bit n of an authorized-operations field (KIP-430)."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


class Presence(Enum):
    """Whether a topic can be seen."""

    THERE = auto()
    MISSING = auto()
    HIDDEN = auto()


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as Kafka shows it to us.

    Attributes:
        setting: which setting names it.
        replication: the fewest copies of any partition.
        in_sync: the fewest copies in sync of any partition.
        leaderless: partitions without a leader.
        rights: bit field of what we may do.
        configs: its configuration, brokers' defaults included; None where we may not read it.
    """

    name: str
    setting: str
    presence: Presence
    partitions: int = 0
    replication: int = 0
    in_sync: int = 0
    leaderless: int = 0
    rights: int = 0
    configs: Mapping[str, str] | None = None

    def may(self, right: Right) -> bool:
        """Whether we have this right."""
        return bool(self.rights >> right & 1)


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group.

    Attributes:
        refused: why we may not be in it, continuing "Kafka "; "" where we may.
        joining: name of the error that joining ends with; "" where it would succeed.
        session_bounds_ms: what the brokers allow, where they tell.
        state: Kafka's word for it.
        members: clients in it now.
        transactional: transactional ids of its partitions that Kafka knows; None where it does not tell.
    """

    refused: str = ""
    joining: str = ""
    session_bounds_ms: tuple[int, int] | None = None
    state: str = ""
    members: int = 0
    transactional: int | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """Offsets of one partition of the frames topic; `committed` None where the group has committed none.

    `newest_ms` and `oldest_unread_ms`: capture times; `appended_ms`: the newest record's timestamp. None
    where there is no such frame, or it could not be read.
    """

    start: int
    end: int
    committed: int | None = None
    newest_ms: int | None = None
    appended_ms: int | None = None
    oldest_unread_ms: int | None = None

    @property
    def lag(self) -> int:
        """Frames to read."""
        return self.end - max(self.start, self.start if self.committed is None else self.committed)

    @property
    def lost(self) -> int:
        """Frames that retention removed before they were read."""
        return 0 if self.committed is None else max(0, self.start - self.committed)


@dataclass(frozen=True, slots=True)
class Clock:
    """Another machine's clock less ours, and how far that may be off."""

    ahead_ms: float
    uncertainty_ms: float
    whose: str


@dataclass(frozen=True, slots=True)
class Kafka:
    """All that was seen of Kafka; what could not be looked at stands in `failures`.

    Attributes:
        addresses: each address asked, with why it cannot be used ("" where it can).
        transactions_refused: why exactly-once is not possible, continuing "Kafka "; None: not asked.
        failures: what was looked at, and what went wrong.
        now_ms: our clock, when frames were read.
    """

    addresses: Mapping[str, str]
    brokers: int = 0
    topics: tuple[Topic, ...] = ()
    group: Group | None = None
    partitions: Mapping[int, Partition] = field(default_factory=dict)
    clock: Clock | None = None
    transactions_refused: str | None = None
    failures: tuple[tuple[str, str], ...] = ()
    now_ms: int = 0

    def topic(self, setting: str) -> Topic | None:
        """The topic that a setting names, where Kafka could be asked and it can be seen."""
        found = (topic for topic in self.topics if topic.setting == setting)
        return next((topic for topic in found if topic.presence is Presence.THERE), None)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, alone and in one call.

    Attributes:
        single_ms, double_ms: time of a call of one row, of two.
        difference: between what two rows answer together and alone, relative; None where not comparable.
        problem: why two rows were not answered; "" where they were.
    """

    single_ms: float
    double_ms: float = 0.0
    difference: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FullBatch:
    """One call of as many rows as the settings allow.

    Attributes:
        rows: of the call.
        ms: time of the second such call: a first one compiles, allocates, warms up.
        limit: rows that the server takes at most, where it refused and told.
        problem: why it was refused; "" where it was answered.
    """

    rows: int
    ms: float = 0.0
    limit: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One model server.

    Attributes:
        problem: why the model cannot be asked there; "" where it can.
        loading: the problem is only that the model still loads.
        versions: version and state, newest first.
        fed, read: how the model is fed and read, in words; with `signature` how the worker uses it.
        warnings: what was taken for granted, each naming its setting.
        labels: how many classes have a name; None where names are not needed.
        row_bytes: of one row; None where frames decide it.
    """

    address: str
    problem: str = ""
    loading: bool = False
    versions: tuple[tuple[int, str], ...] = ()
    signature: str = ""
    fed: str = ""
    read: str = ""
    warnings: tuple[str, ...] = ()
    labels: int | None = None
    row_bytes: int | None = None
    pair: Pair | None = None
    full: FullBatch | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """This machine and what lies on it.

    Attributes:
        admin_problem: why the admin port cannot be had; "" where it can.
        batching_file: the batching file that was named; "" where none was.
        batching: its text.
        batching_problem: why it cannot be read.
    """

    admin_problem: str = ""
    batching_file: str = ""
    batching: str = ""
    batching_problem: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything."""

    kafka: Kafka
    servers: tuple[ModelServer, ...]
    own: Own
