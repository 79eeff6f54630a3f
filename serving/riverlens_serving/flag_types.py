"""How a flag's text becomes a value: one reader a type, each with the words for what it expects."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

_TRUE = {"true": True, "1": True, "false": False, "0": False}


def _typed(expected: str) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Turn a reader's ValueError or KeyError into argparse's, naming what is expected."""

    def wrap(read: Callable[[str], Any]) -> Callable[[str], Any]:
        def checked(text: str) -> Any:
            try:
                return read(text)
            except (ValueError, KeyError) as error:
                raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from error

        return checked

    return wrap


@_typed("a port number or auto")
def port(text: str) -> int | None:
    """A port, or None for `auto`."""
    if text == "auto":
        return None
    number = int(text)
    if not 0 <= number <= 65535:  # noqa: PLR2004  # ports have 16 bits
        raise ValueError(text)
    return number


@_typed("a whole number, 0 or more")
def natural(text: str) -> int:
    """0 or more."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


@_typed("a number of seconds")
def seconds(text: str) -> float:
    """Seconds, of any sign: negative ones often mean never."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


@_typed("a fraction between 0 and 1")
def fraction(text: str) -> float:
    """0 to 1."""
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


@_typed("true or false")
def switch(text: str) -> bool:
    """A boolean as TensorFlow Serving writes it."""
    return _TRUE[text.lower()]


@_typed("a list of key=value, comma-separated")
def channel_options(text: str) -> tuple[tuple[str, int | str], ...]:
    """Arguments of the gRPC channel; a value that is a whole number goes as one."""
    pairs = [part.split("=", 1) for part in text.split(",") if part]
    return tuple((key, _number_or_text(value)) for key, value in pairs)


def _number_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text
