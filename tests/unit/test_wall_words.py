"""What the wall says of the pipeline, and what it makes of frames, hosts and browsers' messages."""

from __future__ import annotations

import struct
from collections import Counter
from io import BytesIO
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens_wall import wire
from riverlens_wall.cameras import Shown
from riverlens_wall.guard import is_allowed
from riverlens_wall.looks import MAX_PIXELS, Look, look_at
from riverlens_wall.pipeline import Seen, lately, stages, verdict
from riverlens_wall.readings import Reading
from riverlens_wall.scaling import UnscalableError, goes_as_it_is, scaled
from riverlens_wall.settings import WallSettings
from riverlens_wall.waiting import HeldFrame, Place
from tests.unit.test_wall_cameras import _event


def _seen(**fields: Any) -> Seen:
    return Seen(
        **{
            "cameras": 4,
            "silent": [],
            "frames_per_s": 40.0,
            "events_per_s": 39.0,
            "latency_ms": 85.0,
            "frames_for_s": 60.0,
            "metrics_away": "",
            **fields,
        }
    )


def _reading(**fields: Any) -> Reading:
    stage_s = Counter({"broker": 1.0, "queue": 2.0, "decode": 0.5, "predict": 4.0, "publish": 0.5})
    return Reading(
        **{
            "states": ["running"],
            "stage_s": stage_s,
            "stage_frames": Counter(dict.fromkeys(stage_s, 100)),
            "endpoints": {"a:8500": True},
            "rows": 80.0,
            "calls": 10.0,
            "load_ratio": 0.5,
            "consumed": 100.0,
            "model_version": 3,
            **fields,
        }
    )


def _verdict(seen: Seen, reading: Reading | None) -> tuple[str, str]:
    return verdict(seen, reading, None if reading is None else lately(None, reading, 0.0))


@pytest.mark.parametrize(
    ("seen", "reading", "level", "words"),
    [
        ({}, {}, "ok", "Keeps up: a frame is an event after 85 ms on average, most of it the model server"),
        ({"kafka_away": "no answer"}, {}, "bad", "until Kafka answers"),
        ({"cameras": 0}, {}, "unknown", "No camera has sent a frame yet"),
        ({}, {"states": ["failed"]}, "bad", "The worker is failed"),
        ({}, {"endpoints": {"a:8500": False}}, "bad", "The model server is away"),
        ({}, {"load_ratio": 1.4}, "busy", "140% of what it takes comes in"),
        ({}, {"lag_s": 12.0}, "busy", "behind by 12.0 s and the model server is not full: add workers"),
        ({"silent": ["a", "b", "c", "d"]}, {}, "bad", "All cameras are silent"),
        ({"silent": ["yard"]}, {}, "ok", "One camera is silent"),
        ({"metrics_away": "not known"}, None, "ok", "Events come out, 39.0 a second"),
        ({"metrics_away": "not known", "events_per_s": 0.0}, None, "bad", "does a worker run?"),
        ({"metrics_away": "x", "events_per_s": 0.0, "frames_for_s": 2.0}, None, "unknown", "first events"),
        ({}, {"stage_frames": Counter()}, "unknown", "waits for frames"),
    ],
)
def test_one_sentence_tells_what_is_the_matter(
    seen: dict[str, Any], reading: dict[str, Any] | None, level: str, words: str
) -> None:
    """The gravest cause wins, and the sentence names what mends it."""
    found, sentence = _verdict(_seen(**seen), None if reading is None else _reading(**reading))
    assert (found, words in sentence) == (level, True), sentence


def test_a_server_slowed_by_others_is_the_bottleneck_whatever_the_fit_says() -> None:
    """Frames are late and calls always under way: more workers would not help, and are not asked for."""
    before, now = _reading(call_s=1.0), _reading(call_s=4.8, lag_s=4.0, load_ratio=0.1, consumed=200.0)
    level, sentence = verdict(_seen(), now, lately(before, now, 2.0))
    assert (level, "The model server is the bottleneck: it is always busy" in sentence) == ("busy", True)
    found = stages(_seen(), now, lately(before, now, 2.0))
    assert [stage.waits for stage in found[2:4]] == [
        "waits for the model server",
        "waits for nothing: it is always busy",
    ]


def test_stages_stand_in_the_order_of_the_data() -> None:
    """Cameras, Kafka, worker, model server, events; each says what it waits for."""
    reading = _reading()
    found = stages(_seen(), reading, lately(None, reading, 0.0))
    assert [stage.name for stage in found] == ["Cameras", "Kafka", "Worker", "Model server", "Events"]
    assert all(stage.level == "ok" and stage.waits for stage in found)
    assert ("frames a call", "8.0") in found[3].figures
    assert ("predict", "40 ms") in found[3].figures


def test_stages_without_metrics_are_grey_with_a_word_why() -> None:
    """What only the worker knows is not guessed."""
    found = stages(_seen(metrics_away="the worker does not answer"), None, None)
    assert [stage.level for stage in found] == ["ok", "unknown", "unknown", "unknown", "ok"]
    assert found[2].waits == "the worker does not answer"


def test_figures_are_those_of_the_last_seconds() -> None:
    """Means are of what came between two readings; after a restart, of what came since it."""
    before, now = _reading(), _reading(rows=120.0, calls=12.0, predict_errors=4.0, consumed=300.0)
    now.stage_s, now.stage_frames = Counter({"predict": 5.0}), Counter({"predict": 120})
    late = lately(before, now, 2.0)
    assert (late.rows, late.errors_per_s, late.stage_ms) == (20.0, 2.0, {"predict": 50.0})
    again = lately(now, _reading(consumed=10.0), 2.0)
    assert (again.rows, again.errors_per_s) == (8.0, 0.0)
    joined = _reading(states=["running", "running"], consumed=900.0, predict_errors=50.0)
    assert lately(now, joined, 2.0).errors_per_s == 0.0


def test_a_scene_that_stands_still_is_no_trouble() -> None:
    """Where only changes are events none may come for hours: the stage waits for a change."""
    before, now = _reading(), _reading(consumed=300.0, unchanged=200.0)
    now.stage_s, now.stage_frames = Counter({"predict": 9.0}), Counter({"predict": 200})
    quiet = _seen(events_per_s=0.0)
    assert stages(quiet, now, lately(before, now, 2.0))[4].waits == "waits for a change in view"
    told = verdict(quiet, now, lately(before, now, 2.0))
    assert told == ("ok", "Keeps up: nothing changes in view.")
    busy = _reading(consumed=300.0)
    assert stages(quiet, busy, lately(before, busy, 2.0))[4].level == "bad"


def _encoded(kind: str, size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    output = BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(output, kind, **options)
    return output.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "mime"),
    [
        ("JPEG", {}, "image/jpeg"),
        ("JPEG", {"progressive": True}, "image/jpeg"),
        ("PNG", {}, "image/png"),
        ("GIF", {}, "image/gif"),
        ("BMP", {}, "image/bmp"),
        ("WEBP", {}, "image/webp"),
        ("WEBP", {"lossless": True}, "image/webp"),
        ("WEBP", {"exif": b"Exif\x00\x00"}, "image/webp"),
    ],
)
def test_images_are_known_by_their_first_bytes(kind: str, options: dict[str, Any], mime: str) -> None:
    """Whatever the content-type says; the size is that of the header."""
    assert look_at(_encoded(kind, **options), "text/uri-list") == Look(mime, (64, 48))


@pytest.mark.parametrize(
    ("value", "content_type", "words"),
    [
        (b"", None, "empty"),
        (b"https://example.com/a.jpg", "text/uri-list", "a reference"),
        (bytes(300), "application/x-raw-rgb;width=10;height=10", "raw pixels"),
        (b"II*\x00rest", None, "TIFF"),
        (b"<svg onload=alert(1)>", "image/svg+xml", "not an image that the wall knows"),
        (b"\xff\xd8\xff\xe0", None, "broken"),
        (
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", MAX_PIXELS, 2),
            None,
            "too large to show here",
        ),
    ],
)
def test_what_no_browser_shows_is_told(value: bytes, content_type: str | None, words: str) -> None:
    """The tile says in words why it is dark; a picture that would choke a browser is never sent."""
    look = look_at(value, content_type)
    assert not look.mime
    assert words in look.note


@given(
    st.sampled_from([b"\xff\xd8\xff", b"RIFF....WEBP", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b""]),
    st.binary(),
)
def test_any_bytes_have_a_look(magic: bytes, rest: bytes) -> None:
    """Frames come from outside: no bytes make the wall raise, and each is shown or explained."""
    look = look_at(magic + rest, None)
    assert bool(look.mime) != bool(look.note)


@pytest.mark.parametrize(
    ("nbytes", "size", "passed"),
    [
        (50_000, (1920, 1080), True),
        (200_000, (640, 480), False),
        (50_000, (7000, 7000), False),
        (50_000, None, False),
    ],
)
def test_only_small_images_go_as_they_are(nbytes: int, size: tuple[int, int] | None, *, passed: bool) -> None:
    """A browser decodes what it is given, 64 cameras at once: few bytes may still be very many pixels."""
    assert goes_as_it_is(bytes(nbytes), Look("image/jpeg", size)) is passed


def test_a_scaled_frame_is_upright_and_small() -> None:
    """Boxes refer to the image as a person sees it: Exif's rotation is applied before it is lost."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = _encoded("JPEG", (640, 480), exif=exif)
    small = Image.open(BytesIO(scaled(image, look_at(image, None), 240)))
    assert small.size == (180, 240)
    with pytest.raises(UnscalableError):
        scaled(image[:600], look_at(image, None), 240)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:8090", None, True),
        ("127.0.0.1:8090", "http://127.0.0.1:8090", True),
        ("localhost:8090", "http://localhost:8090", True),
        ("[::1]:8090", "http://[::1]:8090", True),
        ("wall.example.com", "https://wall.example.com", True),
        ("192.168.1.4:8090", None, True),
        ("evil.example:8090", None, False),
        ("127.0.0.1:8090", "https://evil.example", False),
        ("127.0.0.1:8090", "http://127.0.0.1:9999", False),
        ("127.0.0.1:8090", "null", False),
        ("127.0.0.1@evil.example", None, False),
        ("", None, False),
        ("[::1", None, False),
        ("127.0.0.1:8090", "http://[", False),
    ],
)
def test_only_our_own_page_is_answered(host: str, origin: str | None, *, allowed: bool) -> None:
    """Neither another site's script nor a name rebound to this machine reads the cameras."""
    assert is_allowed(host, origin, {"wall.example.com"}) is allowed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"watch","cameras":[1,2],"width":300}', wire.Watch(frozenset({1, 2}), 480)),
        ('{"type":"watch","cameras":[1,"x",true,null],"width":9000}', wire.Watch(frozenset({1}), 1920)),
        ('{"type":"drawn","round":7}', wire.Drawn(7)),
        ('{"type":"watch"}', None),
        ("[]", None),
        ("{", None),
        ("", None),
    ],
)
def test_browsers_messages_are_read_or_ignored(text: str, message: object) -> None:
    """A browser may be anything: what is not understood changes nothing."""
    assert wire.read_message(text) == message


def test_a_picture_is_its_head_and_its_image() -> None:
    """The page finds the boxes, the age and the place in front of the image's bytes."""
    frame = HeldFrame(Place(3, 17), b"jpeg", Look("image/jpeg", (640, 480)), 1000, 5)
    message = wire.picture(wire.head(9, Shown(frame, _event(17)), 1250, ""), b"jpeg")
    length = int.from_bytes(message[:4])
    head = orjson.loads(message[4 : 4 + length])
    assert message[4 + length :] == b"jpeg"
    assert (head["camera"], head["partition"], head["offset"], head["age_ms"]) == (9, 3, 17, 250)
    assert head["boxes"] == [["person", 0.9, 0.0, 0.0, 0.5, 0.5]]
    assert head["size"] == [640, 480]


def test_settings_name_what_is_wrong() -> None:
    """Addresses with passwords would be shown on the page; they are refused, and not repeated."""
    good = load(
        WallSettings,
        ["--port=0", "--metrics-url=http://a:1/metrics,http://b:1/metrics"],
        prog="riverlens wall",
    )
    assert good.metrics_url == ("http://a:1/metrics", "http://b:1/metrics")
    assert (good.wall_host, good.wall_port) == ("127.0.0.1", 0)
    for address in ("http://me:hunter2@a/metrics", "dns:///me:hunter2@a:9100/metrics"):
        with pytest.raises(SettingsError, match="metrics_url") as caught:
            load(WallSettings, [f"--metrics-url={address}"], prog="riverlens wall")
        assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="allowed_hosts"):
        load(WallSettings, ["--allowed-hosts=https://wall.example.com"], prog="riverlens wall")
    with pytest.raises(SettingsError, match="two different topics"):
        load(WallSettings, ["--frames-topic=detections"], prog="riverlens wall")
