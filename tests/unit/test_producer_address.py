"""Addresses of cameras, and what is never shown of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_producer.address import complaint, read_address


@pytest.mark.parametrize(
    ("text", "login", "shown", "whole"),
    [
        ("rtsp://10.0.0.5/s1", (None, None), "rtsp://10.0.0.5/s1", "rtsp://10.0.0.5/s1"),
        ("RTSP://me:pw@h:554/s", ("me", "pw"), "rtsp://h:554/s", "rtsp://me:pw@h:554/s"),
        ("rtsp://me@h/s", ("me", None), "rtsp://h/s", "rtsp://me@h/s"),
        ("rtsp://me:p%40s@h/s", ("me", "p@s"), "rtsp://h/s", "rtsp://me:p%40s@h/s"),
        ("rtsp://me:p@s:s#1?@h/s", ("me", "p@s:s#1?"), "rtsp://h/s", "rtsp://me:p%40s%3As%231%3F@h/s"),
        ("http://h/v.cgi?user=me&pwd=x", (None, None), "http://h/v.cgi?...", "http://h/v.cgi?user=me&pwd=x"),
        ("http://[::1]:80/v", (None, None), "http://[::1]:80/v", "http://[::1]:80/v"),
        ("rtmp://h/live/secretkey", (None, None), "rtmp://h/live/...", "rtmp://h/live/secretkey"),
        ("udp://@239.0.0.1:5000", (None, None), "udp://239.0.0.1:5000", "udp://@239.0.0.1:5000"),
        ("rtsp://me:p/w@h:554/s", ("me", "p/w"), "rtsp://h:554/s", "rtsp://me:p%2Fw@h:554/s"),
        ("rtsp://me:p/w/@h/s@1", ("me", "p/w/"), "rtsp://h/s@1", "rtsp://me:p%2Fw%2F@h/s@1"),
        ("http://h:80/s@1", (None, None), "http://h:80/s@1", "http://h:80/s@1"),
        ("http://h/v:1@2", (None, None), "http://h/v:1@2", "http://h/v:1@2"),
    ],
)
def test_an_address_is_taken_apart(
    text: str, login: tuple[str | None, str | None], shown: str, whole: str
) -> None:
    """The login as the camera knows it; shown without it, query or stream key; whole for FFmpeg."""
    address = read_address(text)
    assert address is not None
    assert (address.username, address.password) == login
    assert (address.shown, address.whole) == (shown, whole)


@pytest.mark.parametrize("text", ["clip.mp4", "/dev/video0", "a=b", "", "c:\\clips\\a.mp4"])
def test_a_path_is_no_address(text: str) -> None:
    """What has no scheme is a path."""
    assert read_address(text) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("rtsp://h/s", None),
        ("http://[::1]:8080/v", None),
        ("udp://@:5000", None),
        ("clip.mp4", None),
        ("/clips/12:30@gate.mp4", None),
        ("./12:30@gate.mp4", None),
        ("rtsp:/me:hushhush@h/s", "neither an address"),
        ("rtsp:me:hushhush@h/s", "neither an address"),
        ("me:hushhush@h/s", "neither an address"),
        ("http://me:hushhush@h:port/s", "must be http://HOST"),
        ("rtsp://me:hushhush@h:0/s", "port of 1 to 65535"),
        ("rtsp://h:70000/s", "port of 1 to 65535"),
        ("rtsp:///s", "must be rtsp://HOST"),
        ("https://[::1/s", "must be https://HOST"),
    ],
)
def test_what_cannot_be_an_address_is_told(text: str, wrong: str | None) -> None:
    """A host and a port that may be one; what has a login and is no address is no path: paths are shown."""
    told = complaint(text)
    assert (told is None) == (wrong is None)
    assert (wrong or "") in (told or "")
    assert "hushhush" not in (told or "")


def test_a_login_of_its_own_wins() -> None:
    """A username and password of cameras.toml count, not those in the address."""
    address = read_address("rtsp://old:one@h/s", "new", "two")
    assert address is not None
    assert address.whole == "rtsp://new:two@h/s"


_SECRETS = st.text(st.characters(codec="utf-8"), min_size=1)


def _may_stand_alone(password: str) -> bool:
    """A slash after what looks like a port, or beside an @, has to be percent-encoded."""
    front, slash, _ = password.partition("/")
    return not slash or not ("@" in password or front.rpartition(":")[2].isdecimal())


@given(
    user=_SECRETS.filter(lambda text: not set(text) & set(":/[")),
    password=_SECRETS.filter(_may_stand_alone),
)
def test_no_login_is_ever_shown(user: str, password: str) -> None:
    """Whatever characters it has, encoded or not; and a line stays a line."""
    address = read_address(f"rtsp://{user}:{password}@camera.example/stream")
    assert address is not None
    assert address.shown == "rtsp://camera.example/stream"
    assert password not in repr(address).replace(address.shown, "") or len(password) < 12
