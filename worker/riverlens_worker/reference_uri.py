"""Which reference may be fetched, and which not and why. Pure.

A reference is taken apart by a grammar stricter than RFC 3986 (files: RFC 8089; the list: RFC 2483), and
what is fetched is put together again from its parts: no second parser can read it another way. It is
compared with the allowed prefixes part by part, paths by whole segments, never as text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from riverlens_worker.image_header import read_header

CONTENT_TYPE = "text/uri-list"
MAX_LIST_BYTES = 64 * 1024
MAX_URI_CHARS = 8 * 1024

_DEFAULT_PORTS = {"https": 443, "http": 80}
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.*)")
_FILE = re.compile(r"(?://(?:localhost)?)?(/[^?#]*)", re.IGNORECASE)
_WEB = re.compile(r"//([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_AUTHORITY = re.compile(r"([A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")
_MAX_PORT = 65_535
_SHOWN_CHARS = 200


class RefusedError(Exception):
    """This reference is not fetched; the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Location:
    """What a reference or a prefix names, taken apart and checked.

    Attributes:
        scheme: file, https or http.
        host: lower case; IPv6 in brackets, in its shortest form; "" for files.
        port: 0 for files.
        segments: the path's segments, percent-decoded once: none is a dot segment, holds a slash, a
            backslash or a control character, however often it is decoded.
        path: the path as it was written; at least a slash.
        query: as it was written, or None.
    """

    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    path: str
    query: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port: what shares one limit of fetches at a time."""
        if self.scheme == "file":
            return "file:"
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL to ask, made of the checked parts."""
        query = "" if self.query is None else f"?{self.query}"
        return f"{self.scheme}://{self.host}:{self.port}{self.path}{query}"

    @property
    def file_path(self) -> str:
        """The path in the file system."""
        return "/" + "/".join(self.segments)

    def __str__(self) -> str:
        """For logs and details: without the query, which may hold a signature."""
        shown = f"file://{self.path}" if self.scheme == "file" else f"{self.origin}{self.path}"
        return shown[:_SHOWN_CHARS] + ("?..." if self.query is not None else "")

    def covers(self, other: Location) -> bool:
        """Whether `other` is this very place or lies below it."""
        depth = len(self.segments)
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and other.segments[:depth] == self.segments


class AllowList:
    """The places that may be fetched from."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        """Take the prefixes apart, once.

        Raises:
            ValueError: one of them is no prefix; the message names it.
        """
        self._prefixes = tuple(map(_prefix, prefixes))

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    @property
    def uses_tls(self) -> bool:
        """Whether any place is reached by https."""
        return any(prefix.scheme == "https" for prefix in self._prefixes)

    def decide(self, value: bytes) -> tuple[Location, Location]:
        """What a frame's value refers to, and the allowed prefix it lies under.

        Raises:
            RefusedError: it is no list of one URI, or lies under no allowed prefix.
        """
        if not self._prefixes:
            raise RefusedError(
                "references are not fetched: reference_prefixes, which names the allowed places, is empty"
            )
        location = parse(read_list(value))
        covering = [prefix for prefix in self._prefixes if prefix.covers(location)]
        if not covering:
            raise RefusedError(f"{location} lies under none of reference_prefixes")
        return max(covering, key=lambda prefix: len(prefix.segments)), location


def is_reference(value: bytes, content_type: str | None) -> bool:
    """Whether a frame's value is a reference, not an image: magic bytes win over the content type."""
    if content_type is None:
        return False
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE and read_header(value) is None


def read_list(value: bytes) -> str:
    """The one URI of a list; empty lines and comments (#) do not count.

    Raises:
        RefusedError: not ASCII, too long, or another number of URIs than one.
    """
    if len(value) > MAX_LIST_BYTES:
        raise RefusedError(f"a text/uri-list of {len(value)} bytes; at most {MAX_LIST_BYTES} are read")
    try:
        lines = value.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise RefusedError("a text/uri-list beyond ASCII; a URI has such bytes percent-encoded") from None
    found = [line.strip(" \t\r") for line in lines if not line.startswith("#")]
    found = [line for line in found if line]
    if len(found) != 1:
        raise RefusedError(f"a text/uri-list of {len(found)} URIs; one is fetched")
    return found[0]


def parse(text: str) -> Location:
    """Take a URI apart.

    Raises:
        RefusedError: no URI of scheme file, https or http, or one that two programs could read differently.
    """
    if len(text) > MAX_URI_CHARS:
        raise RefusedError(f"a URI of {len(text)} characters; at most {MAX_URI_CHARS} are read")
    if not _CHARACTERS.fullmatch(text) or _BROKEN_ESCAPE.search(text):
        raise RefusedError("not a URI: it has characters that RFC 3986 wants percent-encoded")
    if "#" in text:
        raise RefusedError("a URI with a fragment (#)")
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise RefusedError("not a URI: it names no scheme (file:, https:)")
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme == "file":
        return _file(rest)
    if scheme in _DEFAULT_PORTS:
        return _web(scheme, rest)
    raise RefusedError(f"references of scheme {scheme[:20]!r} are not fetched")


def _file(rest: str) -> Location:
    match = _FILE.fullmatch(rest)
    if match is None:
        raise RefusedError("a file: URI is file:///path, without host or query")
    segments = _segments(match.group(1))
    if "" in segments[:-1]:
        raise RefusedError("a file: URI with an empty segment (//)")
    return Location("file", "", 0, segments, match.group(1))


def _web(scheme: str, rest: str) -> Location:
    match = _WEB.fullmatch(rest)
    if match is None:
        raise RefusedError(f"an {scheme}: URI is {scheme}://host/path")
    authority, path, query = match.group(1), match.group(2) or "/", match.group(3)
    if "@" in authority:
        raise RefusedError("a URI with a user name (@)")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise RefusedError("a URI without a plain host[:port]")
    port = int(found.group(2) or _DEFAULT_PORTS[scheme])
    if not 0 < port <= _MAX_PORT:
        raise RefusedError(f"a URI with port {port}")
    return Location(scheme, _host(found.group(1)), port, _segments(path), path, query)


def _host(text: str) -> str:
    if not text.startswith("["):
        return text.lower()
    try:
        return f"[{IPv6Address(text[1:-1]).compressed}]"
    except ValueError:
        raise RefusedError("a URI with a broken IPv6 address") from None


def _segments(path: str) -> tuple[str, ...]:
    """Decoded segments of a path that begins with a slash."""
    return tuple(map(_segment, path.split("/")[1:]))


def _segment(text: str) -> str:
    decoded = once = _decoded(text)
    while True:
        # Servers normalise too, drop `;parameters`, and some decode twice: no form may be a way up.
        plain = unicodedata.normalize("NFKC", decoded)
        if _FORBIDDEN.search(plain) or plain.partition(";")[0].strip() in {".", ".."}:
            raise RefusedError("a URI with a dot segment, an encoded slash, backslash or control character")
        further = _decoded(decoded)
        if further == decoded:
            return once
        decoded = further


def _decoded(text: str) -> str:
    try:
        return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError("a URI that percent-encodes something else than UTF-8") from None


def _prefix(text: str) -> Location:
    try:
        location = parse(text)
    except RefusedError as error:
        raise ValueError(f"reference_prefixes: {text!r}: {error}") from None
    if location.query is not None:
        raise ValueError(f"reference_prefixes: {text!r}: a prefix has no query")
    segments = location.segments
    while segments and not segments[-1]:
        segments = segments[:-1]
    return Location(location.scheme, location.host, location.port, segments, location.path)
