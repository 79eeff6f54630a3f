"""Which dead letters go back, what their frames carry, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from riverlens.dead_letter import Origin, Reason, dead_letter_headers
from riverlens.errors import SettingsError
from riverlens.frame import read_frame
from riverlens.schemas import load
from riverlens.settings import load as load_settings
from riverlens_worker.redrive.letter import Letter, frame_headers, read_letter
from riverlens_worker.redrive.memory import MOST_CHARS, ForeignMemoryError, Memory
from riverlens_worker.redrive.selection import Fate, Wish, fate
from riverlens_worker.redrive.settings import RedriveSettings, parse_instant
from riverlens_worker.redrive.table import Tally
from tests.worker_parts import FakeRecord, examples

AT_MS = 1_790_000_000_000
CAPTURED_MS = AT_MS - 5_000


@dataclass(frozen=True)
class LetterRecord:
    """A record of the dead letter topic."""

    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None = b"image"
    key: bytes | None = b"lobby-1"
    partition: int = 3
    offset: int = 8
    timestamp: int = AT_MS + 7


def record(
    *own: tuple[str, bytes], reason: Reason = Reason.UNDECODABLE, null: bool = False, **fields: Any
) -> LetterRecord:
    """The dead letter of frame frames/3/17; `own` are the frame's own headers."""
    headers = dead_letter_headers(
        own,
        origin=Origin(fields.pop("topic", "frames"), 3, 17),
        reason=reason,
        detail="why",
        at_ms=AT_MS,
        captured_at_ms=CAPTURED_MS,
        null_value=null,
    )
    return LetterRecord((*headers, *fields.pop("more", ())), **fields)


def letter(*own: tuple[str, bytes], **fields: Any) -> Letter:
    """As `record`, read."""
    found = read_letter(record(*own, **fields))
    assert found is not None
    return found


def _times(count: int) -> tuple[str, bytes]:
    return "redriven", b"%d" % count


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, Fate.GOES),
        ({"topic": "others"}, Fate.NOT_ASKED),
        ({"reasons": frozenset({"undecodable", "too_large"})}, Fate.GOES),
        ({"reasons": frozenset({"too_large"})}, Fate.NOT_ASKED),
        ({"since_ms": AT_MS}, Fate.GOES),
        ({"since_ms": AT_MS + 1}, Fate.NOT_ASKED),
        ({"until_ms": AT_MS}, Fate.NOT_ASKED),
        ({"until_ms": AT_MS + 1}, Fate.GOES),
        ({"cameras": ("lobby-*",)}, Fate.GOES),
        ({"cameras": ("yard", "lobby-?")}, Fate.GOES),
        ({"cameras": ("Lobby-*",)}, Fate.NOT_ASKED),
        ({"cameras": ("lobby",)}, Fate.NOT_ASKED),
        ({"partition": 3}, Fate.GOES),
        ({"partition": 0}, Fate.NOT_ASKED),
        ({"partition": 3, "first_offset": 17, "last_offset": 17}, Fate.GOES),
        ({"partition": 3, "first_offset": 18}, Fate.NOT_ASKED),
        ({"partition": 3, "last_offset": 16}, Fate.NOT_ASKED),
    ],
)
def test_a_letter_goes_where_all_that_is_asked_holds(wish: dict[str, Any], expected: Fate) -> None:
    """Reason, time, camera, partition and offset of the frame must each be as asked."""
    assert fate(letter(), Wish(**{"topic": "frames", **wish}), done=False) is expected


@pytest.mark.parametrize(
    ("found", "done", "again", "expected"),
    [
        (letter(), True, False, Fate.DONE),
        (letter(), True, True, Fate.GOES),
        (letter(_times(2)), False, False, Fate.GOES),
        (letter(_times(3)), False, False, Fate.TOO_OFTEN),
        (letter(_times(3)), True, True, Fate.TOO_OFTEN),
        (letter(("redriven", b"many")), False, False, Fate.GOES),
        (letter(more=[("dlq-value-omitted", b"true")]), False, True, Fate.OMITTED),
        (letter(reason=Reason.UNREADABLE, null=True, value=b""), False, True, Fate.UNREADABLE),
        (letter(null=True, value=b"", key=None), False, False, Fate.GOES),
    ],
)
def test_what_stays_though_asked_for(*, found: Letter, done: bool, again: bool, expected: Fate) -> None:
    """Put back before, three times back, or without its frame: it stays, `--again` only lifts the first."""
    assert fate(found, Wish("frames", again=again), done=done) is expected


@pytest.mark.parametrize(
    ("own", "captured_ms"),
    [
        ((), CAPTURED_MS),
        ((("captured-at", b"yesterday"),), CAPTURED_MS),
        ((("captured-at", b"2026-09-30T12:00:00.033Z"),), 1_790_769_600_033),
    ],
)
def test_the_frame_is_as_it_was(own: tuple[tuple[str, bytes], ...], captured_ms: int) -> None:
    """Key, value, its own headers in order, its capture time; and how often, and whence at first."""
    found = letter(*own, ("x-own", b"\xff"), ("x-own", b"again"))
    headers = frame_headers(found)
    assert headers[: len(own) + 2] == [*own, ("x-own", b"\xff"), ("x-own", b"again")]
    assert not any(name.startswith("dlq-") for name, _ in headers)
    frame = read_frame(FakeRecord(found.value, found.key, 3, AT_MS + 60_000, tuple(headers)))
    assert (frame.camera_id, frame.image, frame.captured_at_ms) == ("lobby-1", b"image", captured_ms)
    assert (frame.redriven, frame.redriven_from) == (1, "frames/3/17")
    ours = {name: value.decode() for name, value in headers if name != "x-own"}
    if captured_ms == CAPTURED_MS and not own:
        Draft202012Validator(load("frame")).validate(ours)


def test_a_frame_that_comes_back_again_counts_on() -> None:
    """The second round says 2, still names the first place, and repeats neither header."""
    found = letter(_times(1), ("redriven-from", b"frames/3/4"))
    headers = frame_headers(found)
    told = [pair for pair in headers if pair[0].startswith("redriven")]
    assert told == [("redriven", b"2"), ("redriven-from", b"frames/3/4")]


@examples()
@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20) | st.none()), max_size=8))
def test_strangers_are_no_letters(headers: list[Any]) -> None:
    """Whatever else lies on the topic makes nothing raise and is none of ours."""
    assert read_letter(LetterRecord(tuple(headers))) is None
    strange = [("dlq-reason", b"new"), ("dlq-topic", b"t"), ("dlq-partition", b"-1"), ("dlq-offset", b"x")]
    assert read_letter(LetterRecord(tuple(strange))) is None


OFFSETS = st.integers(0, 300)


@examples(200)
@given(OFFSETS, st.sets(OFFSETS), st.integers(0, 50))
def test_what_is_remembered_is_what_was_added(low: int, added: set[int], below: int) -> None:
    """Offset and metadata bring the same set back; the offset is the lowest one not done."""
    memory = Memory(low)
    for offset in added:
        memory.add(offset)
    memory.forget_below(below)
    expected = added | set(range(max(low, below)))
    again = Memory(*memory.saved())
    for one in (memory, again):
        assert {offset for offset in range(400) if offset in one} == expected
        assert one.low not in expected
    assert again.saved() == memory.saved()


@examples(20)
@given(st.integers(0, 2**32))
def test_memory_fits_and_forgets_on_the_safe_side(seed: int) -> None:
    """However scattered, it fits Kafka's metadata; what was done stays done."""
    added = {seed % 7 + n * (2 + (n * n * (seed % 97)) % 5) for n in range(6_000)}
    memory = Memory()
    for offset in added:
        memory.add(offset)
    low, text = memory.saved()
    assert len(text) <= MOST_CHARS
    again = Memory(low, text)
    assert all(offset in again for offset in added)


@pytest.mark.parametrize("text", ["somebody else's", "r1:", "r1:!!", "r1:" + "a" * 20])
def test_foreign_metadata_is_told(text: str) -> None:
    """A group that another program uses is not taken for ours."""
    with pytest.raises(ForeignMemoryError):
        Memory(0, text)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("90s", AT_MS - 90_000),
        ("15m", AT_MS - 900_000),
        ("2h", AT_MS - 7_200_000),
        ("1d", AT_MS - 86_400_000),
        ("2026-09-30T14:00:00.033+02:00", 1_790_769_600_033),
    ],
)
def test_times_are_instants_or_so_long_ago(text: str, expected_ms: int) -> None:
    """Both forms of --since and --until."""
    assert parse_instant(text, AT_MS) == expected_ms


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--reason=ugly"], "reason: no reason 'ugly'; there are undecodable, too_large"),
        (["--since=yesterday"], "since: neither an RFC 3339 time"),
        (["--until=2026-09-30T12:00:00"], "until: neither an RFC 3339 time with its zone"),
        (["--partition=0", "--offset=9-3"], "offset: the range ends (3) before it begins (9)"),
        (["--offset=7"], "offset needs partition"),
        (["--since=5m", "--until=1h"], "since (5m) must be before until (1h)"),
        (["--dlq-topic=frames"], "two different topics"),
    ],
)
def test_wrong_wishes_are_told(flags: list[str], told: str) -> None:
    """One line says what is wrong and which flag sets it."""
    with pytest.raises(SettingsError) as raised:
        load_settings(RedriveSettings, flags, prog="riverlens worker redrive")
    assert told in str(raised.value)


def test_the_workers_file_serves(tmp_path: Any) -> None:
    """`--config` takes the worker's own file: topics and group come from it, the rest is not ours."""
    path = tmp_path / "riverlens.toml"
    path.write_text('[worker]\ngroup_id = "yard"\nserver = "gpu:8500"\ndlq_topic = "dead"\n', "utf-8")
    settings = load_settings(
        RedriveSettings, [f"--config={path}", "--reason=too_large,undecodable"], prog="x"
    )
    assert (settings.memory_group, settings.dlq_topic) == ("yard-redrive", "dead")
    assert settings.wish(0).reasons == {"too_large", "undecodable"}


def test_the_table_counts_by_reason_and_camera() -> None:
    """The most frequent first; odd characters of a camera cannot disturb a terminal; the sum says all."""
    tally = Tally()
    for found in (letter(), letter(), letter(key=b"\x1b[2J"), letter(_times(3))):
        tally.count(found, fate(found, Wish("frames"), done=False))
    lines = tally.table()
    assert lines[0].split() == ["reason", "camera", "frames", "bytes", "oldest", "newest"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["undecodable", "lobby-1", "2", "10"],
        ["undecodable", "?[2J", "1", "5"],
    ]
    summary = tally.summary(dry_run=True)
    assert summary == "would put back 3 of 4 dead letters; 1 came back 3 times already"
