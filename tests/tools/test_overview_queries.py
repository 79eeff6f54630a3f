"""Every query of the overview, asked of a real Prometheus that scrapes a real line: it follows its cause."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.dashboard_queries import DASHBOARDS, Query, queries
from tests.line import Line
from tests.prometheus_server import RATE_INTERVAL, Prometheus, Vector, all_numbers, total, wait_until

pytestmark = [pytest.mark.tools, pytest.mark.timeout(1200)]

OVERVIEW = next(path for path in DASHBOARDS if path.stem == "overview")
QUERIES = {query.name.removeprefix("overview: "): query for query in queries(OVERVIEW)}
EFFECTS_WITHIN_S = 180
ALWAYS_ZERO = "Not accounted for: A"
ROOM, MAX_BATCH = 16, 8
WORKER = ("--room-frames", str(ROOM), "--max-batch-size", str(MAX_BATCH))

UNREAD = 20
LATE_S = 5.0

Reading = dict[str, Vector]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one query does after a cause: `holds(before, after)` on its sum over the series with `labels`."""

    query: str
    holds: Callable[[float, float], bool]
    labels: tuple[tuple[str, str], ...] = ()


def up(query: str, **labels: str) -> Effect:
    """At least a fifth more than before, and more than nothing."""
    return Effect(query, lambda before, after: after > 1.2 * before, tuple(labels.items()))


def down(query: str, **labels: str) -> Effect:
    """At least a fifth less than before."""
    return Effect(query, lambda before, after: after < 0.8 * before, tuple(labels.items()))


def becomes(query: str, value: float) -> Effect:
    """Another value than before, known exactly."""
    return Effect(query, lambda before, after: after == value != before)


def above(query: str, value: float) -> Effect:
    """From at most `value` to more than it."""
    return Effect(query, lambda before, after: before <= value < after)


def reaches(query: str, value: float, **labels: str) -> Effect:
    """At least `value`, whatever it was."""
    return Effect(query, lambda _, after: after >= value, tuple(labels.items()))


def below(query: str, value: float) -> Effect:
    """Less than `value`, whatever it was."""
    return Effect(query, lambda _, after: after < value)


@dataclass(frozen=True, slots=True)
class Step:
    """One cause and its effects. `act` brings it about."""

    cause: str
    act: Callable[[Line], None]
    effects: tuple[Effect, ...]


def _odd_frames(line: Line) -> None:
    line.send(b"this is no image")
    line.send(b"nor this", timestamp_ms=int(time.time() * 1000) + 60_000)


def _swap_model(line: Line) -> None:
    line.add_version(2)
    line.start_server()


STEPS = (
    Step(
        "the model server comes",
        lambda line: line.start_server(),
        (
            becomes("State: A", 1),
            becomes("Partitions of each worker: A", 12),
            up("Partitions that moved: A", event="assigned"),
        ),
    ),
    Step(
        "two cameras start",
        lambda line: line.start_cameras("few", 2, "--fps=3"),
        (
            up("Frames in: A"),
            up("Events out: A"),
            up("Frames a second, in and out: A"),
            up("Frames a second, in and out: B", outcome="published"),
            up("Events a second, by camera: A", camera="camera-2"),
            up("Capture to event, p99: A"),
            up("Capture to event: A"),
            up("Capture to event: B"),
            up("Where the time goes: mean of each stage: A", stage="decode"),
            up("Where the time goes: p99 of each stage: A", stage="publish"),
            up("Frames in a batch, mean: A"),
            up("Frames in a batch, distribution: A", le="1.0"),
            up("Why batches left: A", reason="device_free"),
            up("Time of a Predict call: A"),
            up("Time of a Predict call: B"),
            up("Load: A"),
            up("Load of each worker: A"),
        ),
    ),
    Step(
        "more frames come than the model takes",
        lambda line: line.start_cameras("many", 6, "--fps=0", "--frames=500"),
        (
            reaches("Frames in a batch, mean: A", MAX_BATCH / 2),
            reaches("Why batches left: A", 0.1, reason="full"),
            reaches("Predict calls under way, and the model's version: A", 1),
            reaches("Lag in frames: A", UNREAD),
            reaches("Lag in frames: B", UNREAD / 6),
            reaches("Frames in flight: A", ROOM),
            reaches("Bytes in flight: A", 1_000_000),
        ),
    ),
    Step(
        "those cameras stop, and their frames are worked off",
        lambda line: line.stop("many"),
        (below("Lag in frames: A", UNREAD), below("Lag in seconds: A", LATE_S)),
    ),
    Step(
        "two records that are no images, one from the future",
        _odd_frames,
        (
            up("Frames without an event: A", outcome="dead_lettered", reason="unsupported"),
            up("Lost to retention, Kafka not answering, clocks ahead: C"),
        ),
    ),
    Step(
        "the model server goes",
        lambda line: line.stop("server"),
        (
            up("Failed Predict calls: A", code="UNAVAILABLE"),
            becomes("Where the bottleneck is: A", 1),
            down("Events out: A"),
            above("Lag in seconds: A", LATE_S),
            above("Lag in seconds: B", LATE_S),
            above("Lag in frames: A", UNREAD),
        ),
    ),
    Step("retention removes what nobody could read", lambda line: line.forget_frames(), ()),
    Step(
        "the model server comes back with another version",
        _swap_model,
        (
            becomes("Predict calls under way, and the model's version: B", 2),
            up("Lost to retention, Kafka not answering, clocks ahead: A"),
            up("Events out: A"),
        ),
    ),
    Step(
        "another worker shares the work",
        lambda line: line.start_worker("second", *WORKER),
        (becomes("Partitions of each worker: A", 6), up("Partitions that moved: A", event="revoked")),
    ),
    Step(
        "Kafka goes",
        lambda line: line.broker.kill(1),
        (
            up("Lost to retention, Kafka not answering, clocks ahead: B"),
            down("Events out: A"),
            below("Predict calls under way, and the model's version: A", 1),
        ),
    ),
    Step(
        "Kafka comes back",
        lambda line: line.broker.start(1),
        (
            up("Events out: A"),
            # Not before: while Kafka is away nobody acknowledges what was under way when it went.
            below("Frames in flight: A", 1),
            below("Bytes in flight: A", 1),
        ),
    ),
)


def _read(prometheus: Prometheus) -> Reading:
    return {name: prometheus.query(query.filled_in(RATE_INTERVAL)) for name, query in QUERIES.items()}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line with one worker that waits for its model server."""
    with Line(tmp_path_factory.mktemp("line")) as running:
        running.start_worker("worker", *WORKER, admin_port=running.admin_port)
        yield running


@pytest.fixture(scope="module")
def prometheus(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes that worker."""
    with Prometheus(line.targets, tmp_path_factory.mktemp("prometheus")) as running:
        state = QUERIES["State: A"].filled_in(RATE_INTERVAL)
        wait_until(lambda: all_numbers(running.query(state)), "the first scrape")
        yield running


def _seen(effect: Effect, reading: Reading) -> float:
    return total(reading[effect.query], **dict(effect.labels))


def _take(step: Step, line: Line, prometheus: Prometheus) -> None:
    """Bring a cause about and wait until each effect has shown at least once."""
    before = after = _read(prometheus)
    step.act(line)
    waiting = set(step.effects)
    until_s = time.monotonic() + EFFECTS_WITHIN_S
    while waiting:
        after = _read(prometheus)
        assert total(after[ALWAYS_ZERO]) == 0, f"{step.cause}: frames are not accounted for"
        waiting = {
            effect for effect in waiting if not effect.holds(_seen(effect, before), _seen(effect, after))
        }
        if time.monotonic() > until_s:
            break
    missing = [f"{e.query} {dict(e.labels)}: {_seen(e, before):g} -> {_seen(e, after):g}" for e in waiting]
    assert not missing, f"after {EFFECTS_WITHIN_S} s without effect: {step.cause}:\n" + "\n".join(
        [*missing, *line.log("worker").splitlines()[-10:]]
    )


def test_every_query_follows_its_cause(line: Line, prometheus: Prometheus) -> None:
    """Each query changes as its cause does, and the numbers balance all the while."""
    for step in STEPS:
        _take(step, line, prometheus)


def test_every_query_gives_numbers(line: Line, prometheus: Prometheus) -> None:
    """With frames flowing, each query has at least one series, and each series is a number."""
    assert line.admin
    wait_until(
        lambda: all(all_numbers(vector) for vector in _read(prometheus).values()), "numbers from every query"
    )


def test_every_query_has_a_cause() -> None:
    """The steps above name each query of the overview, but for the one that must always be 0."""
    caused = {effect.query for step in STEPS for effect in step.effects}
    assert set(QUERIES) - caused == {ALWAYS_ZERO}
    assert caused <= set(QUERIES)
    assert all(isinstance(query, Query) for query in QUERIES.values())
