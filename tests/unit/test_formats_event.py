"""The event and the dead letter: valid by their schemas, and read back as they were written."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from riverlens.dead_letter import Origin, Reason, dead_letter_headers
from riverlens.event import Classification, Detection, Event, Model, read_event
from riverlens.schemas import load
from riverlens.times import from_rfc3339
from riverlens_worker.messages import BatchReason
from tests.worker_parts import examples

FORMATS = FormatChecker()


@FORMATS.checks("date-time")
def _is_date_time(text: object) -> bool:
    # jsonschema's own check of this format needs a package more, and passes silently without it.
    return not isinstance(text, str) or from_rfc3339(text) is not None


@cache
def _validator(name: Any) -> Draft202012Validator:
    Draft202012Validator.check_schema(load(name))
    return Draft202012Validator(load(name), format_checker=FORMATS)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TOPIC = st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True)  # what Kafka allows
UNIT = st.floats(0, 1)
BOX = st.tuples(UNIT, UNIT, UNIT, UNIT)
SCORE = st.floats(-1e3, 1e3)
ZONES = st.lists(TEXT, max_size=3).map(tuple)
PART = st.fixed_dictionaries(
    {
        "detections": st.lists(
            st.builds(Detection, TEXT, st.integers(0, 9999), SCORE, BOX, st.none() | ZONES), max_size=5
        ),
    }
) | st.one_of(
    st.fixed_dictionaries(
        {"classes": st.lists(st.builds(Classification, TEXT, st.integers(0, 9999), SCORE), max_size=5)}
    ),
    st.fixed_dictionaries({"outputs": st.dictionaries(TEXT, st.lists(st.integers(-9, 9)), max_size=3)}),
)
TIMES = st.fixed_dictionaries(
    {name: st.floats(0, 1e9) for name in ("broker", "queue", "decode", "predict", "total")}
)
ORIGIN = st.builds(Origin, TOPIC, st.integers(0, 999), st.integers(0, 2**62))


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any event that a worker could write."""
    return Event(
        origin=draw(ORIGIN),
        camera_id=draw(TEXT),
        frame_id=draw(st.none() | TEXT),
        sequence=draw(st.none() | st.integers(0, 10**18 - 1)),
        captured_at_ms=draw(st.integers(0, 253_402_300_799_999)),
        image_size=draw(st.tuples(st.integers(1, 70_000), st.integers(1, 70_000))),
        model=Model(draw(TEXT), draw(st.integers(0, 10**9)), draw(TEXT)),
        timing_ms=draw(TIMES),
        batch_size=draw(st.integers(1, 1024)),
        batch_reason=draw(st.sampled_from([reason.value for reason in BatchReason])),
        traceparent=draw(st.none() | TEXT),
        **draw(PART),
    )


def _found(*events: Event) -> list[list[Detection | Classification]]:
    return [[*(event.detections or ()), *(event.classes or ())] for event in events]


@examples(80)
@given(events())
def test_an_event_keeps_its_schema_and_reads_back(event: Event) -> None:
    """Any event validates, formats included, and equals what is read, but for rounded scores and boxes."""
    value, headers = event.to_json(), event.headers()
    body = orjson.loads(value)
    _validator("event").validate(body)
    back = read_event(value, headers)
    assert isinstance(back, Event)
    assert replace(back, detections=None, classes=None) == replace(event, detections=None, classes=None)
    assert [event.detections is None, event.classes is None] == [
        back.detections is None,
        back.classes is None,
    ]
    for one, two in zip(*_found(event, back), strict=True):
        assert (two.label, two.class_id) == (one.label, one.class_id)
        assert two.score == pytest.approx(one.score, abs=1e-4)
        if isinstance(one, Detection) and isinstance(two, Detection):
            assert two.box == pytest.approx(one.box, abs=1e-4)
            assert two.zones == one.zones
    assert read_event(back.to_json(), back.headers()) == back, "a second round changes nothing"


@examples(50)
@given(events())
def test_an_events_headers_are_cloudevents(event: Event) -> None:
    """Attributes of CloudEvents 1.0: the id is the frame's place, the source a URI that names the camera."""
    headers = {name: value.decode() for name, value in event.headers()}
    body = orjson.loads(event.to_json())
    assert headers["ce_id"] == body["event_id"] == event.event_id
    assert (headers["ce_specversion"], headers["ce_type"]) == ("1.0", "riverlens.detections.v1")
    assert headers["ce_time"] == body["captured_at"]
    assert headers["content-type"] == "application/json"
    assert headers.get("ce_subject") == event.frame_id
    source = headers["ce_source"]
    assert source.isascii()
    assert not set(source) & set(' "<>\\^`{|}\n')
    assert unquote(urlsplit(source).path.removeprefix("/cameras/")) == event.camera_id


@pytest.mark.parametrize(
    ("camera", "source"),
    [("lobby", "/cameras/lobby"), ("hall/2", "/cameras/hall/2"), ("Tür 3", "/cameras/T%C3%BCr%203")],
)
def test_an_ordinary_camera_is_in_the_source_as_it_is(camera: str, source: str) -> None:
    """Only what a URI cannot hold is escaped."""
    assert dict(replace(_event(), camera_id=camera).headers())["ce_source"].decode() == source


def _event() -> Event:
    return Event(
        origin=Origin("frames", 3, 17),
        camera_id="lobby",
        frame_id=None,
        sequence=None,
        captured_at_ms=1_790_000_000_000,
        image_size=(640, 480),
        model=Model("street", 1, "serving_default"),
        timing_ms=dict.fromkeys(("broker", "queue", "decode", "predict", "total"), 1.0),
        batch_size=1,
        batch_reason="full",
        detections=[Detection("car", 3, 0.91234567, (0.1, 0.2, 0.30004, 1.0))],
    )


def test_boxes_travel_as_fractions_and_as_pixels() -> None:
    """The pixels are the fractions times the image's size, rounded; both are in the event."""
    found = orjson.loads(_event().to_json())["detections"][0]
    assert found["box"] == {"x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 1.0}
    assert found["box_px"] == {"x1": 64, "y1": 96, "x2": 192, "y2": 480}
    assert found["score"] == 0.9123


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    """`/1` may gain optional fields; today's reader reads tomorrow's events."""
    body = orjson.loads(_event().to_json())
    body |= {"weather": "rain"}
    body["detections"][0]["track"] = 7
    _validator("event").validate(body)
    assert read_event(orjson.dumps(body)) == read_event(_event().to_json())


def test_other_clients_give_none_for_no_headers() -> None:
    """As confluent-kafka does: the event is read, without a trace context."""
    assert (
        read_event(_event().to_json(), None)
        == read_event(_event().to_json(), [])
        == read_event(_event().to_json())
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@examples(150)
@given(name=st.sampled_from(sorted(orjson.loads(_event().to_json()))), junk=JUNK, drop=st.booleans())
def test_a_broken_event_is_a_value_error(*, name: str, junk: object, drop: bool) -> None:
    """A field gone or of the wrong kind is an event or a ValueError, never another exception."""
    body = orjson.loads(_event().to_json())
    if drop:
        del body[name]
    else:
        body[name] = junk
    try:
        event = read_event(orjson.dumps(body))
    except ValueError:
        return
    assert isinstance(event, Event)
    assert sum(part is not None for part in (event.detections, event.classes, event.outputs)) >= 1


@examples()
@given(st.binary(max_size=60) | JUNK.map(orjson.dumps))
def test_what_is_no_event_is_a_value_error(value: bytes) -> None:
    """Anything else on the topic is refused in one way."""
    with pytest.raises(ValueError, match="not an event"):
        read_event(value)


@pytest.mark.parametrize("gone", ["schema", "event_id", "camera_id", "captured_at", "source", "detections"])
def test_the_schema_refuses_an_event_that_lacks_a_part(gone: str) -> None:
    """The schema is not satisfied by just anything."""
    body = orjson.loads(_event().to_json())
    del body[gone]
    assert not _validator("event").is_valid(body)


def test_the_schemas_date_times_are_really_checked() -> None:
    """A capture time that is no instant does not pass."""
    body = orjson.loads(_event().to_json()) | {"captured_at": "yesterday"}
    assert not _validator("event").is_valid(body)


@examples(60)
@given(
    original=st.lists(
        st.tuples(st.text(max_size=10) | st.just("dlq-reason"), st.binary(max_size=10)), max_size=5
    ),
    origin=ORIGIN,
    reason=st.sampled_from(Reason),
    detail=st.text(max_size=700),
    at_ms=st.integers(-5, 2**50),
    null=st.booleans(),
)
def test_a_dead_letter_says_why_and_keeps_the_rest(
    *,
    original: list[tuple[str, bytes]],
    origin: Origin,
    reason: Reason,
    detail: str,
    at_ms: int,
    null: bool,
) -> None:
    """The frame's own headers stay in order, those of an earlier round go, ours validate."""
    headers = dead_letter_headers(
        original,
        origin=origin,
        reason=reason,
        detail=detail,
        at_ms=at_ms,
        captured_at_ms=at_ms - 1000,
        null_value=null,
    )
    assert all(isinstance(value, bytes) for _, value in headers)
    kept = [pair for pair in original if not pair[0].startswith("dlq-")]
    assert headers[: len(kept)] == kept
    ours = {name: value.decode() for name, value in headers[len(kept) :]}
    assert len(ours) == len(headers) - len(kept), "each of ours stands there once"
    _validator("dead_letter").validate(ours)
    assert (ours["dlq-reason"], ours["dlq-topic"]) == (reason.value, origin.topic)
    assert (ours["dlq-partition"], ours["dlq-offset"]) == (str(origin.partition), str(origin.offset))
    assert ("dlq-null-value" in ours) == null


def test_the_reasons_are_the_schemas_closed_list() -> None:
    """A consumer may switch on the reason: code and schema name the same ones."""
    assert [reason.value for reason in Reason] == load("dead_letter")["properties"]["dlq-reason"]["enum"]
    reasons = load("event")["properties"]["batch"]["properties"]["reason"]["enum"]
    assert {reason.value for reason in BatchReason} == set(reasons)
