"""What can go wrong with a model server, and the one function that says what to do about it. Pure.

    RiverlensError
    +-- LayoutError       (riverlens.signature) this model cannot be fed or read; names the setting
    +-- ModelError        the model server refuses for good: a wrong name, signature or request
    +-- PublishError      Kafka refuses the topic for good

A failed call is no exception between stages: `decide` turns its gRPC status into a `Verdict`, after the
statuses and texts of TensorFlow Serving 2.5 and later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from riverlens.errors import RiverlensError


class ModelError(RiverlensError):
    """The model server refuses every call for good."""


class PublishError(RiverlensError):
    """Kafka refuses events for good."""


class Action(Enum):
    """What to do with a batch whose call failed."""

    RETRY = auto()
    """The server is away, overloaded or swapping versions: the same batch again, after a pause."""
    SPLIT = auto()
    """More rows than the server takes: smaller calls from now on."""
    BISECT = auto()
    """Probably one poisonous frame: halves, down to the guilty one."""
    STOP = auto()
    """No call can succeed: a setting is wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why, and for SPLIT the most rows to send (None: half of what was sent)."""

    action: Action
    why: str
    max_rows: int | None = None


_TASK_SIZE = re.compile(r"larger than maximum input batch size (\d+)")
_CLIENT_FAULTS = ("Expects arg[", "input size does not match", "output tensor alias", "ModelSpec")
_RETRIED = frozenset(
    {"UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "CANCELLED", "ABORTED"}
)


def decide(code: str, details: str) -> Verdict:
    """What a failed Predict call means. `code` is the gRPC status name, `details` the server's text."""
    if code in _RETRIED:
        return Verdict(Action.RETRY, _shorten(details) or code)
    if code == "RESOURCE_EXHAUSTED":
        return _exhausted(details)
    if code == "FAILED_PRECONDITION":
        return _precondition(details)
    if code in {"INVALID_ARGUMENT", "OUT_OF_RANGE"}:
        return _invalid(details)
    return Verdict(Action.STOP, f"{code}: {_shorten(details)}")


def _exhausted(details: str) -> Verdict:
    if "larger than max" in details:
        return Verdict(Action.SPLIT, "a message passes the gRPC size limit; see max_batch_bytes")
    if "OOM when allocating" in details:
        return Verdict(Action.SPLIT, "the device ran out of memory")
    return Verdict(Action.RETRY, _shorten(details) or "too many calls at once; see --grpc_max_threads")


def _precondition(details: str) -> Verdict:
    if "Serving signature key" in details:
        return Verdict(Action.STOP, f"{_shorten(details)} See the setting signature.")
    if "different shapes and padding" in details:
        # Another client's frames met ours in the server's batch; alone, ours may pass.
        return Verdict(Action.RETRY, "frames of other shapes met ours in the server's own batch")
    if "Batched output tensor" in details:
        return Verdict(Action.STOP, f"the model cannot be batched: {_shorten(details)}")
    return Verdict(Action.RETRY, _shorten(details))


def _invalid(details: str) -> Verdict:
    limit = _TASK_SIZE.search(details)
    if limit:
        return Verdict(Action.SPLIT, _shorten(details), max_rows=int(limit.group(1)))
    if any(text in details for text in _CLIENT_FAULTS):
        return Verdict(Action.STOP, _shorten(details))
    return Verdict(Action.BISECT, _shorten(details))


def _shorten(details: str) -> str:
    return " ".join(details.split())[:300]
