"""MJPEG streams as cameras really send them."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_producer.multipart import MultipartError, Parts, boundary_of

_JPEG = st.binary(max_size=80).map(lambda inside: b"\xff\xd8" + inside.replace(b"--b", b"") + b"\xff\xd9")


def _stream(pictures: list[bytes], *, lengths: bool, newline: bytes = b"\r\n") -> bytes:
    parts = []
    for picture in pictures:
        head = b"--b" + newline + b"Content-Type: image/jpeg" + newline
        if lengths:
            head += b"content-length: %d" % len(picture) + newline
        parts.append(head + newline + picture + newline)
    return b"".join(parts) + b"--b" + newline


@given(
    pictures=st.lists(_JPEG, max_size=5),
    lengths=st.booleans(),
    newline=st.sampled_from([b"\r\n", b"\n"]),
    cuts=st.lists(st.integers(0, 600), max_size=12),
    told=st.booleans(),
)
def test_pictures_come_out_byte_for_byte(
    pictures: list[bytes],
    lengths: bool,  # noqa: FBT001  # drawn
    newline: bytes,
    cuts: list[int],
    told: bool,  # noqa: FBT001  # drawn
) -> None:
    """However the bytes are split on the way, with lengths or without, the boundary told or not."""
    stream = _stream(pictures, lengths=lengths, newline=newline)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = Parts("b" if told else None, 1000)
    found = [part.body for start, end in pairwise(places) for part in parts.feed(stream[start:end])]
    assert found == pictures


def test_a_picture_with_a_length_is_not_kept_back_for_the_next() -> None:
    """The frame is there as soon as its last byte is: waiting for the boundary would cost a frame's time."""
    picture = b"\xff\xd8 picture \xff\xd9"
    stream = _stream([picture], lengths=True)
    parts = Parts("b", 1000)
    (part,) = parts.feed(stream[: stream.index(picture) + len(picture)])
    assert part.body == picture
    assert part.headers["content-type"] == "image/jpeg"


def test_a_wrong_length_is_seen_and_the_boundary_counts() -> None:
    """Some cameras tell the length of another picture."""
    stream = b"--b\r\nContent-Length: 4\r\n\r\n\xff\xd8 longer \xff\xd9\r\n--b\r\n\r\n"
    (part,) = Parts("b", 1000).feed(stream)
    assert part.body == b"\xff\xd8 longer \xff\xd9"


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "\xb2", ""])
def test_a_length_that_is_no_number_is_none(length: str) -> None:
    """The boundary counts: nothing that a camera sends may end more than its connection."""
    stream = f"--b\r\nContent-Length: {length}\r\n\r\npicture\r\n--b\r\n\r\n".encode("latin-1")
    (part,) = Parts("b", 1000).feed(stream)
    assert part.body == b"picture"


@given(
    st.lists(
        st.sampled_from([b"--b", b"--", b"\r\n", b"\n", b"content-length: ", b"7", b"x" * 50]), max_size=40
    )
)
def test_a_hostile_stream_is_parts_or_an_error(pieces: list[bytes]) -> None:
    """Whatever comes, in whatever pieces: parts within the limit, or MultipartError, never anything else."""
    parts = Parts("b", 1000)
    with contextlib.suppress(MultipartError):
        for piece in pieces:
            assert all(len(part.body) <= 1000 for part in parts.feed(piece))


@pytest.mark.parametrize(
    "stream",
    [
        b"--b\r\nContent-Length: 1001\r\n\r\n",
        b"--b\r\n\r\n" + b"x" * 40_000,
        b"--b\r\n" + b"x: y\r\n" * 20_000,
        b"x" * 40_000,
    ],
)
def test_memory_is_bounded(stream: bytes) -> None:
    """Neither a picture nor headers nor what is no part at all may fill it."""
    with pytest.raises(MultipartError):
        Parts("b", 1000).feed(stream)


def test_a_stream_without_a_boundary_is_refused() -> None:
    """Neither told nor begun with: it is something else."""
    with pytest.raises(MultipartError, match="names no boundary"):
        Parts(None, 1000).feed(b"<html>\n")


@pytest.mark.parametrize(
    ("told", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", "frame"),
        ('multipart/x-mixed-replace;boundary="--my frame"', "my frame"),
        ("multipart/x-mixed-replace; boundary=--myboundary", "myboundary"),
        ("multipart/x-mixed-replace", None),
    ],
)
def test_the_boundary_is_read_as_cameras_write_it(told: str, boundary: str | None) -> None:
    """With or without quotes and its own dashes."""
    assert boundary_of(told) == boundary
