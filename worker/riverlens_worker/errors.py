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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from riverlens.errors import RiverlensError
from riverlens_worker.backoff import Backoff


class ModelError(RiverlensError):
    """The model server refuses every call for good."""


class PublishError(RiverlensError):
    """Kafka refuses events for good."""


class Action(Enum):
    """What to do with frames whose call failed."""

    AWAY = auto()
    """The server is away, or its model is: wait until it says AVAILABLE, or ask another. No frame's fault."""
    OVERLOAD = auto()
    """Too much at once: a pause, then fewer calls at once. No frame's fault."""
    RETRY = auto()
    """A fault of the server or of one frame: a few tries while other calls pass, then as BISECT."""
    SPLIT = auto()
    """More than a call may hold: smaller calls from now on."""
    BISECT = auto()
    """Probably one poisonous frame: halves, down to the guilty one."""
    STOP = auto()
    """No call can succeed: a setting is wrong."""


class Limit(Enum):
    """What a call held too much of."""

    ROWS = auto()
    """Rows: the server's own limit, for good."""
    REQUEST = auto()
    """Bytes of the request, for good."""
    REPLY = auto()
    """Bytes of the reply, so rows, for good."""
    MEMORY = auto()
    """The device's memory, which others share: for a while."""


BACKOFFS: Mapping[Action, Backoff] = {
    Action.AWAY: Backoff(first_ms=100, limit_ms=2_000),
    Action.OVERLOAD: Backoff(first_ms=50, limit_ms=2_000),
    Action.RETRY: Backoff(first_ms=100, limit_ms=2_000),
}
"""How long each kind of trouble is given: until a server that failed again at once is asked again, until
an overloaded one is, until frames that failed go out once more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action and why, in words a person can use.

    Attributes:
        timed_out: the call ran into its deadline: the server may still be at work on it.
        alert: a person must mend it; it does not pass by itself.
        limit: with SPLIT, what there was too much of.
        max_rows: with Limit.ROWS, the most a call may hold.
        fraction: with Limit.REQUEST and REPLY, what part of the size would have passed.
    """

    action: Action
    why: str
    timed_out: bool = False
    alert: bool = False
    limit: Limit | None = None
    max_rows: int | None = None
    fraction: float = 0.5

    @property
    def passes(self) -> bool:
        """Whether the same call may be answered later on."""
        return self.action in {Action.AWAY, Action.OVERLOAD, Action.RETRY}


_TASK_SIZE = re.compile(r"larger than maximum input batch size (\d+)")
_SIZES = re.compile(r"\((\d+) vs\. (\d+)\)")
_CLIENT_FAULTS = (
    "Expects arg",
    "input size does not match",
    "Signature input alias",
    "input tensor alias",
    "output tensor alias",
    "ModelSpec",
    "Unrecognized servable version label",
)
_LOST_CONNECTION = ("Stream removed", "RST_STREAM", "GOAWAY", "Socket closed", "Connection reset", "http2")
_KERNEL = "{{node"
"""TensorFlow names the operation that failed: the model ran, so nothing is away or misconfigured."""


def decide(code: str, details: str) -> Verdict:
    """What a failed Predict call means. `code` is the gRPC status name, `details` the server's text."""
    by_code = _BY_CODE.get(code)
    return _other(code, details) if by_code is None else by_code(details)


def _other(code: str, details: str) -> Verdict:
    why = f"{code}: {_shorten(details)}" if details else code
    if code == "NOT_FOUND":
        return Verdict(Action.RETRY if _KERNEL in details else Action.AWAY, why)
    if code == "DEADLINE_EXCEEDED":
        return Verdict(Action.RETRY, f"{why}; see predict_timeout_ms", timed_out=True)
    if code in {"UNIMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED"} and _KERNEL not in details:
        return Verdict(Action.STOP, f"{why}; see the setting server: is it a TensorFlow model server?")
    if any(text in details for text in _LOST_CONNECTION):
        return Verdict(Action.AWAY, why)
    return Verdict(Action.RETRY, why)


def _unavailable(details: str) -> Verdict:
    if "batch scheduling queue" in details:
        return Verdict(Action.OVERLOAD, "the server's batching queue is full; see max_enqueued_batches")
    return Verdict(Action.AWAY, _shorten(details) or "UNAVAILABLE")


def _exhausted(details: str) -> Verdict:
    if "larger than max" in details:
        sizes = _SIZES.search(details)
        sent, most = (int(number) for number in sizes.groups()) if sizes else (2, 1)
        limit = Limit.REPLY if "CLIENT: Received" in details else Limit.REQUEST
        why = f"a message passes the gRPC size limit ({_shorten(details)}); see max_batch_bytes"
        return Verdict(Action.SPLIT, why, limit=limit, fraction=min(most / max(sent, 1), 0.99))
    if "OOM when allocating" in details or "out of memory" in details.lower():
        return Verdict(Action.SPLIT, f"out of memory: {_shorten(details)}", limit=Limit.MEMORY)
    if "Run() timeout exceeded" in details:
        return Verdict(Action.OVERLOAD, "calls wait too long in the server's batching queue")
    return Verdict(Action.OVERLOAD, f"too many calls at once ({_shorten(details)}); see --grpc_max_threads")


def _precondition(details: str) -> Verdict:
    if "Serving signature key" in details:
        return Verdict(Action.STOP, f"{_shorten(details)} See the setting signature.")
    if "different shapes and padding" in details:
        # Frames of other shapes, another client's or our other call's: with fewer calls ours goes alone.
        return Verdict(Action.OVERLOAD, "frames of other shapes met ours in the server's own batch")
    if "Batched output tensor" in details:
        return Verdict(Action.STOP, f"the model cannot be batched: {_shorten(details)}")
    if "uninitialized" in details or "Could not find variable" in details:
        why = f"the version it loaded is not whole: {_shorten(details)}; copy beside, then rename"
        return Verdict(Action.AWAY, why, alert=True)
    return Verdict(Action.RETRY, f"FAILED_PRECONDITION: {_shorten(details)}")


def _invalid(details: str) -> Verdict:
    limit = _TASK_SIZE.search(details)
    if limit:
        return Verdict(
            Action.SPLIT, _shorten(details), limit=Limit.ROWS, max_rows=max(1, int(limit.group(1)))
        )
    if _KERNEL not in details and any(text in details for text in _CLIENT_FAULTS):
        return Verdict(Action.STOP, _shorten(details))
    return Verdict(Action.BISECT, _shorten(details) or "INVALID_ARGUMENT")


_BY_CODE: Mapping[str, Callable[[str], Verdict]] = {
    "UNAVAILABLE": _unavailable,
    "RESOURCE_EXHAUSTED": _exhausted,
    "FAILED_PRECONDITION": _precondition,
    "INVALID_ARGUMENT": _invalid,
    "OUT_OF_RANGE": _invalid,
}


def _shorten(details: str) -> str:
    return " ".join(details.split())[:300]
