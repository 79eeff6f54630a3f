"""Status codes and texts as TensorFlow Serving sends them."""

from __future__ import annotations

from enum import IntEnum

MAX_MESSAGE_BYTES = 1024
"""Longer texts are cut there (`ToGRPCStatus` in TensorFlow Serving's grpc_status_util.cc)."""

_CUT_MARK = "...TRUNCATED"


class Code(IntEnum):
    """Canonical status codes: absl's, TensorFlow's and gRPC's numbers are the same."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """A request or a model load that ends in a status other than OK.

    It is part of the protocol, not a message for the person at the keyboard: its `code` and `message`
    travel to the caller word for word.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT, the commonest refusal."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def cut(message: str) -> str:
    """The text as it goes on the wire: at most 1024 bytes of UTF-8, then a mark."""
    encoded = message.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return message
    return encoded[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore") + _CUT_MARK
