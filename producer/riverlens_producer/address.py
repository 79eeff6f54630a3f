"""Addresses of cameras: their parts, and how one is shown without what must stay secret. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
_LATE_LOGIN = re.compile(r"([^@]*@[^/]*)(.*)", re.DOTALL)
_LOGIN_ALONE = re.compile(r"[^/.][^@]*:.*@", re.DOTALL)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_KEY_IN_PATH = frozenset({"rtmp", "rtmps", "rtmpt", "rtmpts"})
"""Where the last part of the path is commonly the stream key."""
_HOST_AND_PORT = frozenset({"http", "https", "rtsp", "rtsps"}) | _KEY_IN_PATH


@dataclass(frozen=True, slots=True)
class Address:
    """One address, taken apart.

    Attributes:
        scheme: in small letters.
        bare: the address without user and password; a query may still hold secrets, so it is not shown.
        username: as the camera knows it, or None; password likewise.
        shown: for logs and errors: no user, no password, no query, no stream key.
    """

    scheme: str
    bare: str = field(repr=False)
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    shown: str

    @property
    def whole(self) -> str:
        """The address with user and password in the form that FFmpeg reads."""
        if self.username is None:
            return self.bare
        login = quote(self.username, safe="")
        if self.password is not None:
            login += ":" + quote(self.password, safe="")
        scheme, _, rest = self.bare.partition("://")
        return f"{scheme}://{login}@{rest}"

    @property
    def camera_id(self) -> str:
        """A name made of host and path, for cameras that nobody named."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.shown.partition("://")[2]).strip("-.") or self.scheme


def read_address(text: str, username: str | None = None, password: str | None = None) -> Address | None:
    """Take an address apart; None where the text is none, but a path say.

    `username` and `password` win over those in the text. A password may hold characters that should have been
    percent-encoded: what stands before the last `@` of the host is the login. A slash is one of them where
    what stands before it can be no port.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    scheme, authority, path = match[1].lower(), match[2], match[3]
    late = _LATE_LOGIN.fullmatch(path)
    if late and not _port_is_one(authority.rpartition("@")[2]):
        authority, path = authority + late[1], late[2]
    login, at, host = authority.rpartition("@")
    if login:
        name, colon, secret = login.partition(":")
        username = unquote(name) if username is None else username
        password = unquote(secret) if password is None and colon else password
    # An empty login belongs to the address: udp://@239.0.0.1:5000 means "listen here".
    bare = f"{scheme}://{'' if login else at}{host}{path}"
    return Address(scheme, bare, username, password, _shown(scheme, host, path))


def complaint(text: str) -> str | None:
    """What is wrong with what should be an address or a path; shows nothing of it. None: nothing is."""
    address = read_address(text)
    if address is None:
        # It would be taken for a file, and errors about files name them.
        return (
            "neither an address, SCHEME://HOST/..., nor a path: one with : and @ in it begins with ./"
            if _LOGIN_ALONE.match(text)
            else None
        )
    if address.scheme not in _HOST_AND_PORT:
        return None
    try:
        parts = urlsplit(address.bare)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return None if usable else f"must be {address.scheme}://HOST/... or HOST:PORT, with a port of 1 to 65535"


def _port_is_one(host: str) -> bool:
    _, colon, port = host.rpartition(":")
    return not colon or port.isdecimal() or (host.startswith("[") and host.endswith("]"))


def _shown(scheme: str, host: str, path: str) -> str:
    place = _QUERY.sub("?...", host + path)
    if scheme in _KEY_IN_PATH:
        front, slash, _ = place.rpartition("/")
        place = f"{front}{slash}..." if slash else place
    # A line break in an address must not begin a line of its own in a log.
    return re.sub(r"[\x00-\x20\x7f]", "_", f"{scheme}://{place}")
