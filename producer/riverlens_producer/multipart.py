"""The parts of a `multipart/x-mixed-replace` stream, as cameras really send it. Pure.

Seen in the field and allowed here: a boundary that is told with its two dashes, quoted or not, or not at all;
parts with and without Content-Length, or with a wrong one; line ends of one byte; blank lines between parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message

_MOST_HEADER_BYTES = 16 * 1024
_BLANK = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile("[0-9]{1,18}")
_EOI = b"\xff\xd9"


class MultipartError(ValueError):
    """The stream is not made of parts, or one of them is larger than allowed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Attributes:
        headers: names in small letters.
        body: the picture.
    """

    headers: dict[str, str]
    body: bytes


def boundary_of(content_type: str) -> str | None:
    """The boundary that a Content-Type names, without leading dashes; None where it names none."""
    message = Message()
    message["content-type"] = content_type
    told = message.get_param("boundary")
    return str(told).strip('" ').lstrip("-") or None if told else None


class Parts:
    """Cuts a stream into its parts, however its bytes are split on the way.

    Args:
        boundary: from `boundary_of`; None: the stream's first line tells it.
        limit_bytes: the largest body.
    """

    def __init__(self, boundary: str | None, limit_bytes: int) -> None:
        self._mark = None if boundary is None else b"--" + boundary.encode("latin-1", "replace")
        self._limit_bytes = limit_bytes
        self._held = bytearray()
        self._headers: dict[str, str] | None = None
        self._length: int | None = None
        self._searched = 0

    def feed(self, chunk: bytes) -> list[Part]:
        """The parts that are whole with these bytes.

        Raises:
            MultipartError: see there.
        """
        self._held += chunk
        parts = []
        while self._headers is not None or self._read_headers():
            body = self._take_body()
            if body is None:
                break
            assert self._headers is not None  # noqa: S101  # the loop's condition
            parts.append(Part(self._headers, body))
            self._headers = None
        if len(self._held) > self._limit_bytes + _MOST_HEADER_BYTES:
            raise MultipartError(f"a part is larger than {self._limit_bytes} bytes")
        return parts

    def _read_headers(self) -> bool:
        if self._mark is None and not self._guess_mark():
            return False
        assert self._mark is not None  # noqa: S101  # guessed or given
        at = self._held.find(self._mark)
        end = None if at < 0 else _BLANK.search(self._held, at)
        if end is None:
            if len(self._held) > _MOST_HEADER_BYTES:
                raise MultipartError("no part begins")
            return False
        self._headers = _headers(bytes(self._held[at + len(self._mark) : end.start()]))
        length = self._headers.get("content-length", "")
        self._length = int(length) if _LENGTH.fullmatch(length) else None
        if self._length is not None and self._length > self._limit_bytes:
            raise MultipartError(f"a part of {self._length} bytes; {self._limit_bytes} are allowed")
        del self._held[: end.end()]
        self._searched = 0
        return True

    def _guess_mark(self) -> bool:
        line, newline, _ = bytes(self._held[:_MOST_HEADER_BYTES]).lstrip(b"\r\n").partition(b"\n")
        if newline:
            if not line.startswith(b"--"):
                raise MultipartError("it names no boundary and begins with none")
            self._mark = line.strip()
        return bool(newline)

    def _take_body(self) -> bytes | None:
        assert self._mark is not None  # noqa: S101  # headers were read by it
        if self._length is not None:
            if len(self._held) < self._length + 2:
                return self._early_body()
            # A wrong length shows: neither a line end nor the boundary follows.
            follows = bytes(self._held[self._length : self._length + 4]).lstrip(b"\r\n")
            if follows[:2] in {b"", self._mark[:2]}:
                return self._cut(self._length, self._length)
            self._length = None
        at = self._held.find(self._mark, max(0, self._searched - len(self._mark)))
        self._searched = len(self._held)
        return None if at < 0 else self._cut(_without_line_end(self._held, at), at)

    def _early_body(self) -> bytes | None:
        # The bytes after a picture may come with the next one, a whole frame later.
        length = self._length or 0
        if len(self._held) >= length and self._held[max(0, length - 2) : length] == _EOI:
            return self._cut(length, length)
        return None

    def _cut(self, end: int, following: int) -> bytes:
        body = bytes(self._held[:end])
        del self._held[:following]
        return body


def _without_line_end(held: bytearray, at: int) -> int:
    if held[max(0, at - 2) : at] == b"\r\n":
        return at - 2
    return at - 1 if held[max(0, at - 1) : at] == b"\n" else at


def _headers(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
