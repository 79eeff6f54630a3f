"""What is wrong with the worker's own settings, with this machine, and with the batching file. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from riverlens import batching_lint
from riverlens_worker.check.facts import Kafka, Own
from riverlens_worker.check.finding import Finding, bad, good, warning
from riverlens_worker.settings import WorkerSettings

_MANY_CALLS = 8
_JUST_IN_TIME_CALLS = 2
_FATAL = ("no model would load", "are refused")
_GUIDE = "serving/gpu/README.md tells of each field"
_DEFAULT_ENQUEUED = 10


def judge_own(own: Own, kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    """The admin port, calls in flight, room, and the batching file where one is named."""
    where = f"admin port {settings.admin_host}:{settings.admin_port}"
    if own.admin_problem:
        yield bad(where, own.admin_problem, "--admin-port 0 for any free one, or end what has it")
    else:
        yield good(where, "free")
    yield _calls(settings)
    yield from _room(kafka, settings)
    if own.batching_problem:
        yield bad("batching file", own.batching_problem, "--batching-file PATH")
    elif own.batching_file:
        yield from _batching(own, kafka, settings)


def _calls(settings: WorkerSettings) -> Finding:
    what, calls = "calls in flight", settings.max_in_flight_calls
    if calls == 1:
        found = "max_in_flight_calls is 1: the device waits while an answer and the next batch travel"
        return warning(what, found, "--max-in-flight-calls 2")
    if calls > _MANY_CALLS:
        found = (
            f"max_in_flight_calls is {calls}: frames wait at the server, where nothing newer overtakes them"
        )
        return warning(what, found, "--max-in-flight-calls 2")
    return good(what, f"{calls} at each model server")


def _usual_calls(settings: WorkerSettings) -> int:
    """Batches under way at one model server; more only where it runs more side by side."""
    most = settings.max_in_flight_calls
    return most if settings.dispatch == "at-once" else min(most, _JUST_IN_TIME_CALLS)


def _room(kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    frames = kafka.topic("frames_topic")
    if frames is None:
        return
    room = frames.partitions * settings.room_frames
    wanted = settings.max_batch_size * (_usual_calls(settings) + 1)
    if room < wanted:
        found = (
            f"{frames.partitions} partitions of room_frames {settings.room_frames} hold {room} frames: less "
            f"than {_usual_calls(settings) + 1} batches of {settings.max_batch_size}"
        )
        yield warning("room", found, f"--room-frames {-(-wanted // frames.partitions)}")


def _batching(own: Own, kafka: Kafka, settings: WorkerSettings) -> Iterator[Finding]:
    what, mend = "batching file", f"edit {own.batching_file}; {_GUIDE}"
    try:
        file = batching_lint.read(own.batching)
    except ValueError as error:
        yield bad(what, str(error), mend)
        return
    traps = batching_lint.lint(file, worker_batch=settings.max_batch_size)
    for trap in traps:
        fatal = any(text in trap for text in _FATAL)
        yield (bad if fatal else warning)(what, trap, mend)
    workers = max(1, kafka.group.members if kafka.group is not None else 1)
    calls = workers * _usual_calls(settings)
    queue = _DEFAULT_ENQUEUED if file.max_enqueued_batches is None else file.max_enqueued_batches
    taken = queue + (file.num_batch_threads or 1)
    if calls > taken:
        found = f"max_enqueued_batches: {calls} calls of {workers} workers at once, {taken} are taken"
        mend = (
            f"max_enqueued_batches {{ value: {calls} }}, or --max-in-flight-calls {max(1, taken // workers)}"
        )
        yield warning(what, found, mend)
    elif not traps:
        yield good(what, f"fits batches of {settings.max_batch_size} rows, {calls} calls at once")
