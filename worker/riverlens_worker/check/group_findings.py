"""What is wrong with the group, its offsets, its delivery mode and the clocks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from riverlens_worker.check.facts import Group, Kafka
from riverlens_worker.check.finding import Finding, bad, good, warning
from riverlens_worker.check.topic_findings import alter
from riverlens_worker.settings import WorkerSettings

_SKEW_MS = 1_000
"""From here on a frame's age counts from its arrival on Kafka, not from its capture."""
_REFUSED_AHEAD_MS = 3_600_000
"""Kafka's message.timestamp.after.max.ms: records of a clock further ahead are refused."""


def judge_group(kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    """The group, what it has to read, and how its workers deliver."""
    group = kafka.group
    if group is not None and group.refused:
        yield refusal(f"group {settings.group_id}", group.refused)
    elif group is not None:
        yield _joining(group, settings)
    yield from _offsets(kafka, settings)
    yield from _delivery(kafka, settings)
    yield from _clock(kafka)


def refusal(what: str, text: str) -> Finding:
    """A refusal of Kafka's as riverlens tells it everywhere: what, `; see` the remedy."""
    found, _, remedy = text.partition("; ")
    return bad(what, found, remedy)


def _joining(group: Group, settings: WorkerSettings) -> Finding:
    what = f"group {settings.group_id}"
    if not group.joining:
        now = f"{group.members} in it now, {group.state}" if group.members else "nobody in it now"
        return good(what, f"this worker may join; {now}")
    if group.joining == "InvalidSessionTimeoutError":
        bounds = group.session_bounds_ms
        lowest = bounds[0] if bounds else 6_000
        allowed = f"{bounds[0]} to {bounds[1]}" if bounds else "6000 to 1800000 unless somebody set it"
        found = (
            f"session_timeout_ms is {settings.session_timeout_ms}; the brokers allow {allowed} "
            "(group.min.session.timeout.ms, group.max.session.timeout.ms)"
        )
        nearest = lowest if bounds is None else min(max(settings.session_timeout_ms, lowest), bounds[1])
        return bad(what, found, f"--session-timeout-ms {nearest}")
    if group.joining == "InconsistentGroupProtocolError":
        found = "clients of another kind are in it, with which a worker cannot share partitions"
        return bad(what, found, "--group-id of its own")
    if group.joining == "GroupMaxSizeReachedError":
        return bad(
            what, "it is full (group.max.size)", "raise group.max.size of the brokers, or end a worker"
        )
    return bad(what, f"this worker cannot join: {group.joining}", "--group-id of its own")


def _offsets(kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    if not kafka.partitions:
        return
    partitions, name = kafka.partitions.values(), settings.frames_topic
    lost, lag = sum(each.lost for each in partitions), sum(each.lag for each in partitions)
    frames = kafka.topic("frames_topic")
    configs = frames.configs if frames is not None and frames.configs is not None else {}
    retention_ms = int(configs.get("retention.ms", -1))
    longer = alter(settings, name, retention_ms=max(4 * retention_ms, 3_600_000))
    if lost:
        found = f"{lost} frames were removed by retention before they were read"
        yield warning(f"lost on {name}", found, longer)
    times = [each.oldest_unread_ms for each in partitions if each.oldest_unread_ms is not None]
    age_ms = max(0, kafka.now_ms - min(times)) if times else 0
    if all(each.committed is None for each in partitions):
        found = f"nothing committed yet: {lag} frames stand there, read from the earliest"
    else:
        found = f"{lag} frames to read" + (f", the oldest {age_ms / 1000:.3g} s old" if lag and times else "")
    if lag and 0 < retention_ms < 2 * age_ms:
        late = f"{found}; retention removes them at {retention_ms / 1000:g} s"
        yield warning(f"lag on {name}", late, f"more workers in the group, or {longer}")
    else:
        yield good(f"lag on {name}", found)


def _delivery(kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    if settings.exactly_once and kafka.transactions_refused:
        yield refusal("transactions", kafka.transactions_refused)
    elif settings.exactly_once and kafka.transactions_refused is not None:
        yield good("transactions", f"ids {settings.group_id}-{settings.frames_topic}-... may be used")
    if settings.exactly_once:
        yield good(
            "delivery",
            f"exactly-once: readers of {settings.events_topic} must set isolation_level=read_committed; "
            f"all workers of {settings.group_id} must deliver so",
        )
    else:
        yield good("delivery", "at-least-once: after a failure events may repeat, with equal event_id")
    group = kafka.group
    if group is None or not group.members or group.transactional is None:
        return
    if settings.exactly_once and not group.transactional:
        found = f"the {group.members} members of {settings.group_id} deliver at-least-once"
        yield bad("delivery", found, "end them before the first with delivery=exactly-once starts")
    if not settings.exactly_once and group.transactional:
        found = (
            f"members of {settings.group_id} deliver, or did within the last week, exactly-once; the modes "
            "must not be mixed"
        )
        yield warning(
            "delivery", found, "--delivery exactly-once, or see that all members have at-least-once"
        )


def _clock(kafka: Kafka) -> Iterator[Finding]:
    newest = [each.newest_ms for each in kafka.partitions.values() if each.newest_ms is not None]
    ahead_ms = max(newest) - kafka.now_ms if newest else 0
    clock = kafka.clock
    if clock is None:
        if ahead_ms <= _SKEW_MS:
            seen = f"the newest frame is {-ahead_ms / 1000:.3g} s old" if newest else "no frame to go by"
            yield good(
                "clock", f"not measured: the brokers' is told with the right Describe on the cluster; {seen}"
            )
    else:
        yield _skew(clock.ahead_ms, clock.uncertainty_ms, clock.whose)
    if newest and ahead_ms > _SKEW_MS:
        found = f"the newest frame was captured {ahead_ms / 1000:.3g} s from now, by its camera's clock"
        yield warning("capture times", found, "set the clocks of cameras and of this machine (NTP)")


def _skew(ahead_ms: float, uncertainty_ms: float, whose: str) -> Finding:
    off_ms = abs(ahead_ms)
    side = "behind" if ahead_ms > 0 else "ahead of"
    measured = f"(asked and answered, known to {uncertainty_ms:.0f} ms)"
    if off_ms - uncertainty_ms <= _SKEW_MS:
        return good("clock", f"ours is {off_ms:.0f} ms {side} the {whose} {measured}")
    found = f"ours is {off_ms / 1000:.3g} s {side} the {whose} {measured}"
    mend = "set this machine's clock, or the brokers' (NTP)"
    if -ahead_ms - uncertainty_ms > _REFUSED_AHEAD_MS:
        return bad("clock", f"{found}: Kafka refuses events from the future", mend)
    return warning("clock", f"{found}: ages and latencies are wrong by that", mend)
