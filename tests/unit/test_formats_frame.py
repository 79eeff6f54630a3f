"""The frame and its times: any record reads as a frame, and what is written reads back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from riverlens.frame import Frame, read_frame
from riverlens.schemas import load
from riverlens.times import from_rfc3339, to_rfc3339
from tests.worker_parts import FakeRecord, examples

LAST_MS = 253_402_300_799_999
NAMES = st.sampled_from(
    ["content-type", "camera-id", "frame-id", "sequence", "captured-at", "traceparent", "redriven"]
)
HEADERS = st.lists(st.tuples(NAMES | st.text(max_size=20), st.binary(max_size=40) | st.none()), max_size=8)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
VALIDATOR = Draft202012Validator(load("frame"))


@examples()
@given(st.binary(max_size=50) | st.none(), st.binary(max_size=40) | st.none(), st.integers(), HEADERS)
def test_no_record_makes_reading_raise(
    value: bytes | None, key: bytes | None, timestamp: int, headers: list[tuple[str, bytes]]
) -> None:
    """Hostile keys, headers, times and null values read as a frame with a camera, and travel on as UTF-8."""
    frame = read_frame(FakeRecord(value, key, 7, timestamp, tuple(headers)))
    assert frame.camera_id
    assert frame.image == (value or b"")
    assert frame.sequence is None or 0 <= frame.sequence < 10**18
    assert frame.key().decode()
    for name, text in frame.headers():
        assert text.decode() or name


@examples()
@given(
    camera=TEXT,
    image=st.binary(max_size=50),
    captured_at_ms=st.integers(0, LAST_MS),
    frame_id=st.none() | TEXT,
    sequence=st.none() | st.integers(0, 10**18 - 1),
    content_type=st.none() | TEXT,
    traceparent=st.none() | TEXT,
    redriven=st.integers(0, 10**18 - 1),
    redriven_from=st.none() | st.just("frames/3/992817"),
)
def test_a_frame_written_is_the_frame_read(
    *,
    camera: str,
    image: bytes,
    captured_at_ms: int,
    frame_id: str | None,
    sequence: int | None,
    content_type: str | None,
    traceparent: str | None,
    redriven: int,
    redriven_from: str | None,
) -> None:
    """Any camera, bytes, time and headers, unicode among them, come back; the headers keep the schema."""
    frame = Frame(
        camera,
        image,
        captured_at_ms,
        frame_id,
        sequence,
        content_type,
        traceparent,
        redriven,
        redriven_from,
    )
    headers = frame.headers()
    assert read_frame(FakeRecord(image, frame.key(), 3, 0, tuple(headers))) == frame
    VALIDATOR.validate({name: value.decode() for name, value in headers})


def test_a_key_and_an_image_are_a_whole_frame() -> None:
    """What kcat puts on the topic has its camera from the key and its time from the record."""
    frame = read_frame(FakeRecord(b"\xff\xd8", b"lobby", 0, 1234))
    assert frame == Frame("lobby", b"\xff\xd8", 1234)


@pytest.mark.parametrize(
    ("key", "headers", "camera"),
    [
        (b"k", ((("camera-id"), b"h"),), "k"),
        (None, (("camera-id", b"h"),), "h"),
        (b"", (("camera-id", b"h"),), "h"),
        (None, (("camera-id", b""),), "partition-5"),
        (None, (), "partition-5"),
        (None, (("camera-id", b"first"), ("camera-id", b"last")), "last"),
        (b"\xff\x00", (), "\\xff\x00"),
        ("Größe 7".encode(), (), "Größe 7"),
    ],
)
def test_the_camera_is_the_key_then_a_header_then_the_partition(
    key: bytes | None, headers: tuple[tuple[str, bytes], ...], camera: str
) -> None:
    """Every frame has a camera, whatever its producer left out."""
    assert read_frame(FakeRecord(b"", key, 5, 0, headers)).camera_id == camera


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        (b"0", 0), (b"184467", 184467), (b"9" * 18, 10**18 - 1), (b"007", 7),
        (b"9" * 19, None), (b"-1", None), (b"1.0", None), (b" 1", None), (b"1_0", None),
        (b"\xd9\xa1", None), (b"", None),
    ],
)  # fmt: skip
def test_a_sequence_is_digits_or_nothing(text: bytes, sequence: int | None) -> None:
    """Only plain decimal digits that fit 64 bits count; all else is left out, not guessed."""
    assert read_frame(FakeRecord(headers=(("sequence", text),))).sequence == sequence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-30T12:00:00.033Z", 1_790_769_600_033),
        ("2026-09-30t12:00:00.033z", 1_790_769_600_033),
        ("2026-09-30T14:00:00.033+02:00", 1_790_769_600_033),
        ("2026-09-30T12:00:00.0334999Z", 1_790_769_600_033),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-09-30T12:00:00", None),
        ("2026-09-30", None),
        ("2026-13-30T12:00:00Z", None),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+23:59", -62135683140000),
    ],
)
def test_captured_at_is_an_instant_or_nothing(text: str, expected: int | None) -> None:
    """An RFC 3339 instant in any zone is read to the millisecond; without a zone it is no instant."""
    assert from_rfc3339(text) == expected
    frame = read_frame(FakeRecord(timestamp=5, headers=(("captured-at", text.encode()),)))
    assert frame.captured_at_ms == (5 if expected is None else expected)


@examples()
@given(st.integers(0, LAST_MS), st.integers(-23 * 60, 23 * 60))
def test_times_survive_the_round_trip_in_any_zone(epoch_ms: int, minutes: int) -> None:
    """Milliseconds written and read are the same, whichever zone a producer writes."""
    text = to_rfc3339(epoch_ms)
    assert from_rfc3339(text) == epoch_ms
    if 10**9 < epoch_ms < LAST_MS - 10**9:
        zone = timezone(timedelta(minutes=minutes))
        instant = datetime.fromtimestamp(epoch_ms // 1000, UTC).astimezone(zone)
        assert from_rfc3339(instant.isoformat()) == epoch_ms // 1000 * 1000


@examples()
@given(st.integers())
def test_any_clock_writes_a_time_that_exists(epoch_ms: int) -> None:
    """Times before 1970 and after 9999 are written as the nearest one that RFC 3339 can say."""
    assert from_rfc3339(to_rfc3339(epoch_ms)) == min(max(epoch_ms, 0), LAST_MS)


@examples()
@given(st.text(max_size=40))
def test_no_text_makes_reading_a_time_raise(text: str) -> None:
    """A header may hold anything; it is a time or it is not."""
    found = from_rfc3339(text)
    assert found is None or isinstance(found, int)
