"""The text of the two files that tuning writes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w
from pydantic import SecretStr

from riverlens.batching_lint import lint, read
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tune.plan import Candidate

_LEAST_QUEUE = 16
_ROOM_BATCHES = 2
"""Batches beside those under way that a partition's frames should have room for: one open, one arriving."""
_PREFERRED = (1, 2, 4, 8, 16, 24, 32)


@dataclass(frozen=True, slots=True)
class BatchingAdvice:
    """What the model server's batching file should say.

    Attributes:
        rows: of the worker's largest call.
        devices: how many batches the server works on at once.
        calls: that each worker may have under way.
        workers: that share the server.
        allowed: sizes to pad to; none: every size as it comes.
    """

    rows: int
    devices: int
    calls: int
    workers: int
    allowed: Sequence[int] = ()

    @property
    def queue(self) -> int:
        """Every call that all workers may send: none of them is refused."""
        return max(_LEAST_QUEUE, self.devices, self.workers * self.calls)


def allowed_sizes(rows: int, *, slow_first: bool, padded: Mapping[int, int]) -> tuple[int, ...]:
    """Sizes to pad to, where the server must make ready for each size, or pads already; else none."""
    if not slow_first and not padded:
        return ()
    return (*(size for size in _PREFERRED if size < rows), rows)


def batching_text(advice: BatchingAdvice, heading: Sequence[str]) -> str:
    """BatchingParameters for --batching_parameters_file, each with its reason."""
    lines = [f"# {line}" for line in heading]
    lines += [
        "",
        "# Rows of a request and of a batch: the worker's max_batch_size.",
        f"max_batch_size {{ value: {advice.rows} }}",
        "",
        "# A batch goes as soon as a batch thread is free: requests merge only while the device works.",
        "batch_timeout_micros { value: 0 }",
        "",
        "# Batches that the server really works on at once; more threads would take requests one by one.",
        f"num_batch_threads {{ value: {advice.devices} }}",
        "",
        f"# {advice.workers} workers of {advice.calls} calls each; further ones are refused as UNAVAILABLE.",
        f"max_enqueued_batches {{ value: {advice.queue} }}",
    ]
    if advice.allowed:
        lines += [
            "",
            "# The first call of each size is slow here: others are padded up to the next of these.",
        ]
        lines += [f"allowed_batch_sizes: {size}" for size in advice.allowed]
    return "\n".join(lines) + "\n"


def traps(text: str, advice: BatchingAdvice) -> list[str]:
    """What riverlens itself would find wrong with such a file; empty for our own."""
    return lint(read(text), worker_batch=advice.rows, devices=advice.devices)


def settings_text(settings: WorkerSettings, chosen: Candidate, heading: Sequence[str]) -> str:
    """The worker's settings: those that were given, and the tuned ones. No secret is written."""
    values = _given(settings)
    kafka = values.pop("kafka", {})
    values |= {
        "server": settings.server,
        "model": settings.model,
        "max_batch_size": chosen.rows,
        "max_in_flight_calls": chosen.calls,
        "dispatch": chosen.dispatch,
    }
    room = max(settings.room_frames, (chosen.calls + _ROOM_BATCHES) * chosen.rows)
    if room > settings.room_frames:
        values["room_frames"] = room
    tables = {"worker": values, **({"kafka": kafka} if kafka else {})}
    return "".join(f"# {line}\n" for line in heading) + "\n" + tomli_w.dumps(tables)


def secrets(settings: WorkerSettings) -> list[str]:
    """Variables that give what the file must not hold."""
    kafka = settings.kafka
    return [
        f"RIVERLENS_KAFKA__{name.upper()}"
        for name in sorted(kafka.model_fields_set)
        if isinstance(getattr(kafka, name), SecretStr)
    ]


def _given(settings: WorkerSettings) -> dict[str, Any]:
    """What was set rather than left at its default, in TOML's types."""
    values = settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if isinstance(values.get("kafka"), dict):
        kafka = settings.kafka
        hidden = {name for name in values["kafka"] if isinstance(getattr(kafka, name), SecretStr)}
        values["kafka"] = {name: value for name, value in values["kafka"].items() if name not in hidden}
    return values
