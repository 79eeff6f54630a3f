"""Addresses of cameras, and what is never shown of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_producer.address import read_address


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


def test_a_login_of_its_own_wins() -> None:
    """A username and password of cameras.toml count, not those in the address."""
    address = read_address("rtsp://old:one@h/s", "new", "two")
    assert address is not None
    assert address.whole == "rtsp://new:two@h/s"


_SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1)


@given(user=_SECRETS.filter(lambda text: ":" not in text), password=_SECRETS)
def test_no_login_is_ever_shown(user: str, password: str) -> None:
    """Whatever characters it has, encoded or not; and a line stays a line."""
    address = read_address(f"rtsp://{user}:{password}@camera.example/stream")
    assert address is not None
    assert address.shown == "rtsp://camera.example/stream"
    assert password not in repr(address).replace(address.shown, "") or len(password) < 12
