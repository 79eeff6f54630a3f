"""The picture of the pipeline: five stages, what each waits for, and one sentence over all. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from riverlens_wall.readings import STAGES, Reading

Level = Literal["ok", "busy", "bad", "unknown"]
Figures = list[tuple[str, str]]

_LATE_S = 3.0
_FIRST_EVENT_S = 5.0
_SATURATED = 0.9
_NAMED = 3
NOTHING = "-"
UNTOLD = "see --metrics-url"


class Stage(NamedTuple):
    """One box. `waits` says what it waits for, in words; `figures` are names with values."""

    name: str
    level: Level
    headline: str
    figures: Figures
    waits: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the wall itself knows.

    Attributes:
        cameras, silent: how many it knows, and the ids of those that send nothing now.
        frames_per_s: None while nobody reads frames.
        frames_for_s: for how long frames have come, since they are read; None while none came.
        latency_ms: capture to event, mean of the last seconds; None where no event came.
        kafka_away: why Kafka is not read, or "".
        metrics_away: why the workers' metrics are not known, or "" where they are.
    """

    cameras: int
    silent: Sequence[str]
    frames_per_s: float | None
    events_per_s: float
    latency_ms: float | None
    frames_for_s: float | None = None
    kafka_away: str = ""
    metrics_away: str = UNTOLD

    @property
    def no_events(self) -> bool:
        """Whether events are missing: the first ones have had their time."""
        return self.events_per_s == 0 and (self.frames_for_s or 0.0) > _FIRST_EVENT_S


@dataclass(frozen=True, slots=True)
class Lately:
    """What changed between two readings: milliseconds a frame by stage, and rates a second.

    Attributes:
        rows: frames in a call, mean; None where there was no call.
        calls_open: Predict calls under way, mean over the time; 0.0 for the first reading.
        unchanged: whether frames were answered whose events would have told nothing new.
    """

    stage_ms: dict[str, float]
    rows: float | None
    calls_open: float
    errors_per_s: float
    no_event_per_s: float
    unchanged: bool


def lately(before: Reading | None, now: Reading, passed_s: float) -> Lately:
    """The last seconds: `now` less `before`. Where workers came, went or started again: since their start."""
    if before is None or passed_s <= 0 or not _follows(before, now):
        before, passed_s = Reading(), 0.0
    stage_ms = {}
    for stage in STAGES:
        frames = now.stage_frames[stage] - before.stage_frames[stage]
        if frames > 0:
            stage_ms[stage] = 1000 * (now.stage_s[stage] - before.stage_s[stage]) / frames
    calls = now.calls - before.calls
    without = ("dropped", "dead_lettered")
    lost = sum(now.outcomes[name] - before.outcomes[name] for name in without)
    return Lately(
        stage_ms,
        (now.rows - before.rows) / calls if calls > 0 else None,
        (now.call_s - before.call_s) / passed_s if passed_s else 0.0,
        (now.predict_errors - before.predict_errors) / passed_s if passed_s else 0.0,
        lost / passed_s if passed_s else 0.0,
        now.unchanged > before.unchanged,
    )


def _follows(before: Reading, now: Reading) -> bool:
    same = len(now.states) == len(before.states)
    return same and now.consumed >= before.consumed and now.calls >= before.calls


def stages(seen: Seen, now: Reading | None, late: Lately | None) -> list[Stage]:
    """The five boxes, in the order of the data."""
    known = now is not None and late is not None
    return [
        _cameras(seen),
        _kafka(seen, now, late),
        _worker(now, late) if known and now and late else _grey("Worker", seen),
        _model_server(now, late) if known and now and late else _grey("Model server", seen),
        _events(seen, late),
    ]


def _grey(name: str, seen: Seen) -> Stage:
    return Stage(name, "unknown", "not known", [], seen.metrics_away)


def _cameras(seen: Seen) -> Stage:
    live = seen.cameras - len(seen.silent)
    rate = NOTHING if seen.frames_per_s is None else f"{seen.frames_per_s:.1f}/s"
    if not seen.cameras:
        return Stage("Cameras", "unknown", "none yet", [("frames", rate)], "no camera has sent a frame yet")
    if seen.silent:
        names = _names(seen.silent)
        return Stage(
            "Cameras", "bad", f"{live} of {seen.cameras} live", [("frames", rate)], f"silent: {names}"
        )
    return Stage("Cameras", "ok", f"{live} live", [("frames", rate)], "waits for nothing")


def _names(ids: Sequence[str]) -> str:
    """The first of them, and how many there are besides."""
    more = len(ids) - _NAMED
    return ", ".join(ids[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _kafka(seen: Seen, now: Reading | None, late: Lately | None) -> Stage:
    if seen.kafka_away:
        return Stage("Kafka", "bad", "away", [], seen.kafka_away)
    if now is None or late is None:
        return Stage("Kafka", "unknown", "connected", [], seen.metrics_away)
    figures = [("oldest waits", _seconds(now.lag_s)), ("capture to worker", _ms(late.stage_ms.get("broker")))]
    headline = f"{now.lag_frames:.0f} frames wait"
    if now.lag_s > _LATE_S:
        return Stage("Kafka", "busy", headline, figures, "frames wait for the workers")
    return Stage("Kafka", "ok", headline, figures, "waits for nothing")


def _worker(now: Reading, late: Lately) -> Stage:
    count = len(now.states)
    off = [state for state in now.states if state != "running"]
    figures = [
        ("load", f"{now.load_ratio:.0%}"),
        ("queue", _ms(late.stage_ms.get("queue"))),
        ("decode", _ms(late.stage_ms.get("decode"))),
        ("in flight", f"{now.in_flight_frames:.0f}"),
    ]
    headline = f"{count} running" if count > 1 else "running"
    if off:
        return Stage(
            "Worker", "bad", off[0] if count == 1 else f"{len(off)} of {count} {off[0]}", figures, ""
        )
    if _model_is_full(now, late):
        return Stage("Worker", "ok", headline, figures, "waits for the model server")
    if not late.stage_ms:
        return Stage("Worker", "ok", headline, figures, "waits for frames")
    wait = "waits for frames" if now.load_ratio < _SATURATED else "nearly as many frames as it can take"
    return Stage("Worker", "ok", headline, figures, wait)


def _model_server(now: Reading, late: Lately) -> Stage:
    up = sum(now.endpoints.values())
    figures = [
        ("predict", _ms(late.stage_ms.get("predict"))),
        ("frames a call", NOTHING if late.rows is None else f"{late.rows:.1f}"),
        ("calls under way", f"{now.calls_in_flight:.0f}"),
    ]
    if now.model_version is not None:
        figures.append(("model version", str(now.model_version)))
    if now.endpoints and not up:
        return Stage("Model server", "bad", "away", figures, "frames wait on Kafka until it answers")
    headline = f"{up} of {len(now.endpoints)} answer" if len(now.endpoints) > 1 else "answers"
    if not now.endpoints:
        headline = NOTHING
    if late.errors_per_s > 0:
        return Stage("Model server", "busy", headline, figures, f"{late.errors_per_s:.1f} calls/s fail")
    if _model_is_full(now, late):
        return Stage("Model server", "busy", headline, figures, "waits for nothing: it is always busy")
    return Stage("Model server", "ok", headline, figures, "waits for frames")


def _model_is_full(now: Reading, late: Lately) -> bool:
    """Whether the model servers are what everything waits for.

    The workers' fitted load says so while it fits; where a server is slowed by others it is told by frames
    that are late while there is hardly a moment without a call at each server.
    """
    up = max(1, sum(now.endpoints.values()))
    return now.load_ratio > 1 or (now.lag_s > _LATE_S and late.calls_open >= _SATURATED * up)


def _events(seen: Seen, late: Lately | None) -> Stage:
    figures = [("capture to event", _ms(seen.latency_ms))]
    if late is not None:
        figures.append(("publish", _ms(late.stage_ms.get("publish"))))
        figures.append(("without event", f"{late.no_event_per_s:.1f}/s"))
    headline = f"{seen.events_per_s:.1f}/s"
    if seen.events_per_s == 0 and late is not None and late.unchanged:
        return Stage("Events", "ok", headline, figures, "waits for a change in view")
    if seen.no_events:
        return Stage("Events", "bad", headline, figures, "no event comes out")
    if seen.events_per_s == 0:
        return Stage("Events", "unknown", headline, figures, "waits for frames")
    if seen.latency_ms is not None and seen.latency_ms > 1000 * _LATE_S:
        return Stage("Events", "busy", headline, figures, "late: they wait for the stages before")
    return Stage("Events", "ok", headline, figures, "waits for nothing")


def verdict(seen: Seen, now: Reading | None, late: Lately | None) -> tuple[Level, str]:
    """One sentence for whoever asks whether all is well, and what to do where it is not."""
    if seen.kafka_away:
        return "bad", "Nothing moves here until Kafka answers."
    if not seen.cameras:
        return "unknown", "No camera has sent a frame yet."
    if now is None or late is None:
        return _without_metrics(seen)
    return _trouble(seen, now, late) or _well(seen, late)


def _trouble(seen: Seen, now: Reading, late: Lately) -> tuple[Level, str] | None:
    """What keeps frames from becoming events, the gravest first."""
    off = [state for state in now.states if state != "running"]
    if off and len(off) == len(now.states):
        return "bad", f"The worker is {off[0]}: its log says why."
    if now.endpoints and not any(now.endpoints.values()):
        return "bad", "The model server is away. Frames wait on Kafka; nothing is lost while they fit there."
    if _model_is_full(now, late):
        load = f"{now.load_ratio:.0%} of what it takes comes in"
        if now.load_ratio <= 1:
            load = f"it is always busy, and frames wait for {_seconds(now.lag_s)}"
        return "busy", f"The model server is the bottleneck: {load}. Add model servers, or drop old frames."
    if now.lag_s > _LATE_S:
        behind = _seconds(now.lag_s)
        return "busy", f"The workers are behind by {behind} and the model server is not full: add workers."
    if len(seen.silent) == seen.cameras:
        return "bad", "All cameras are silent."
    return None


def _without_metrics(seen: Seen) -> tuple[Level, str]:
    if len(seen.silent) == seen.cameras:
        return "bad", "All cameras are silent."
    if seen.no_events:
        return "bad", "Frames come, events do not: does a worker run?"
    if seen.events_per_s == 0:
        return "unknown", "Waiting for the first events."
    why = seen.metrics_away[:1].upper() + seen.metrics_away[1:]
    if seen.metrics_away == UNTOLD:
        why = "Start the wall with --metrics-url to see the worker too"
    return "ok", f"Events come out, {seen.events_per_s:.1f} a second. {why}."


def _well(seen: Seen, late: Lately) -> tuple[Level, str]:
    silent = f" {len(seen.silent)} cameras are silent." if len(seen.silent) > 1 else ""
    silent = " One camera is silent." if len(seen.silent) == 1 else silent
    if not late.stage_ms:
        return "unknown", f"The worker waits for frames.{silent}"
    if late.unchanged and not seen.events_per_s:
        return "ok", f"Keeps up: nothing changes in view.{silent}"
    longest = max(late.stage_ms, key=lambda stage: late.stage_ms[stage])
    where = {"broker": "camera and Kafka", "queue": "waiting in the worker", "predict": "the model server"}
    told = f"most of it {where.get(longest, longest)}, {_ms(late.stage_ms[longest])}"
    return "ok", f"Keeps up: a frame is an event after {_ms(seen.latency_ms)} on average, {told}.{silent}"


def _ms(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 10:  # noqa: PLR2004  # below it a digit more tells something
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 10_000 else _seconds(value / 1000)  # noqa: PLR2004  # five digits are hard to read


def _seconds(value: float) -> str:
    if value < 100:  # noqa: PLR2004  # beyond, minutes are what a person reads
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min"
