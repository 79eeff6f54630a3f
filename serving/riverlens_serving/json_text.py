"""JSON as TensorFlow Serving reads it: NaN and Infinity are numbers, what follows the document is ignored.

And JSON values as its error texts quote them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

from riverlens_serving.status import ServingError, invalid

_QUOTED_BYTES = 256
"""Longer values are cut near there (`kMaxJsonDebugStringBytes` in json_tensor.cc)."""
_BLANK = b" \t\r\n"
_SHORT_FORMS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Inf\b|-NaN\b')
"""Numbers that RapidJSON reads and Python's reader only in their long form; strings, to step over them."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64_MIN, _TOO_LARGE = -(2**63), 2**64
_INTEGER_DIGITS = 20
"""No integer of 64 bits has more, sign and all."""


class _UnreadableError(Exception):
    """What Python reads and RapidJSON does not; `part` is where."""

    def __init__(self, what: str, part: str) -> None:
        super().__init__(what)
        self.part = part


def parse(body: bytes) -> dict[str, Any]:
    """The object that a request's body is.

    Raises:
        ServingError: INVALID_ARGUMENT, not JSON, or no object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_leniently(body)
    if not isinstance(document, dict):
        raise wrong(document, "Is not object")
    return document


def _parse_leniently(body: bytes) -> Any:
    text = body.lstrip(_BLANK)
    start = len(body) - len(text)
    if not text:
        raise invalid(f"JSON Parse error: The document is empty. at offset: {start}")
    try:
        return _read(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Invalid encoding in string. at offset: {start + error.start}"
        ) from error
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {start + error.pos}") from error
    except _UnreadableError as error:
        offset = start + text.find(error.part.encode())
        raise invalid(f"JSON Parse error: {error} at offset: {offset}") from error
    except RecursionError as error:
        raise invalid(f"JSON Parse error: nested too deeply. at offset: {start}") from error


def _read(text: str) -> Any:
    """The document, whatever follows it."""
    reader = json.JSONDecoder(parse_int=_integer, parse_float=_finite)
    try:
        document = reader.raw_decode(text)[0]
    except json.JSONDecodeError:
        longer = _SHORT_FORMS.sub(_long_form, text)
        if longer == text:
            raise
        document = reader.raw_decode(longer)[0]
    surrogate = _SURROGATE.search(text)
    if surrogate is not None:
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise _UnreadableError("The surrogate pair in string is invalid.", surrogate[0]) from error
    return document


def _long_form(match: re.Match[str]) -> str:
    return {"Inf": "Infinity", "-Inf": "-Infinity", "-NaN": "NaN"}.get(match[0], match[0])


def _integer(digits: str) -> int | float:
    # RapidJSON reads what no 64 bits hold as a double; Python refuses thousands of digits.
    number = int(digits) if len(digits) <= _INTEGER_DIGITS else _TOO_LARGE
    return number if _INT64_MIN <= number < _TOO_LARGE else _finite(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _UnreadableError("Number too big to be stored in double.", digits)
    return number


def wrong(value: Any, what: str) -> ServingError:
    """INVALID_ARGUMENT about a value, quoted."""
    return invalid(f"JSON Value: {quoted(value)} {what}")


def type_name(value: Any) -> str:
    """The JSON type in error texts."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case dict():
            return "Object"
        case list():
            return "Array"
        case str():
            return "String"
        case _:
            return "Number"


def quoted(value: Any) -> str:
    """A value as error texts show it: arrays on one line, objects on several, cut after 256 bytes."""
    parts: list[str] = []
    size = 0
    for token in _tokens(value, 0):
        if size >= _QUOTED_BYTES:
            break
        parts.append(token)
        size += len(token.encode())
    return "".join(parts)


def _tokens(value: Any, depth: int) -> Iterator[str]:
    match value:
        case list():
            yield "["
            for number, item in enumerate(value):
                yield from (", ",) if number else ()
                yield from _tokens(item, depth + 1)
            yield "]"
        case dict() if value:
            yield "{"
            for number, (key, item) in enumerate(value.items()):
                yield ("," if number else "") + "\n" + "    " * (depth + 1)
                yield json.dumps(key, ensure_ascii=False) + ": "
                yield from _tokens(item, depth + 1)
            yield "\n" + "    " * depth + "}"
        case _:
            yield json.dumps(value, ensure_ascii=False)
