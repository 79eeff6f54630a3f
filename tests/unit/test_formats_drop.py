"""The drop: what is said of a frame that a freshness policy left out."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

import riverlens
from riverlens.dead_letter import Origin
from riverlens.drop import Drop, DropReason
from riverlens.event import Event
from riverlens.schemas import load
from tests.worker_parts import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DROPS = st.builds(
    Drop,
    origin=st.builds(
        Origin, st.text("abc.-_", min_size=1), partition=st.integers(0, 99), offset=st.integers(0, 2**53)
    ),
    camera_id=TEXT.filter(bool),
    frame_id=st.none() | TEXT,
    sequence=st.none() | st.integers(0, 10**17),
    captured_at_ms=st.integers(0, 4_102_444_800_000),
    reason=st.sampled_from([reason.value for reason in DropReason]),
    age_ms=st.floats(0, 1e9),
    traceparent=st.none() | st.text("0123456789abcdef-", min_size=1),
)
LATE = Drop(Origin("frames", 3, 17), "lobby", "f17", 17, 1_790_000_000_000, "stale", 1_500.5)


def _validator() -> Draft202012Validator:
    return Draft202012Validator(load("drop"), format_checker=Draft202012Validator.FORMAT_CHECKER)


@examples(80)
@given(DROPS)
def test_a_drop_keeps_its_schema_and_reads_back(drop: Drop) -> None:
    """Any drop validates, formats included, and `read_event` gives back its equal."""
    _validator().validate(orjson.loads(drop.to_json()))
    assert riverlens.read_event(drop.to_json(), drop.headers()) == drop


def test_a_drop_is_told_from_an_event_by_its_type() -> None:
    """The CloudEvents type differs, the id is the one that the frame's event would have."""
    headers = {name: value.decode() for name, value in LATE.headers()}
    assert headers["ce_type"] == "riverlens.dropped.v1"
    assert headers["ce_id"] == LATE.event_id == "frames/3/17"
    assert headers["ce_source"] == "/cameras/lobby"
    assert not isinstance(riverlens.read_event(LATE.to_json()), Event)


def test_the_schema_knows_every_reason_and_no_other() -> None:
    """The closed list of the code is the closed list of the schema."""
    assert load("drop")["properties"]["reason"]["enum"] == [reason.value for reason in DropReason]
    with pytest.raises(ValidationError):
        _validator().validate(orjson.loads(replace(LATE, reason="tired").to_json()))


@pytest.mark.parametrize("gone", ["camera_id", "captured_at", "reason", "age_ms", "source"])
def test_a_drop_that_lacks_a_part_is_a_value_error(gone: str) -> None:
    """The schema refuses it, and so does the reader, in the way of a broken event."""
    body = orjson.loads(LATE.to_json())
    del body[gone]
    with pytest.raises(ValidationError):
        _validator().validate(body)
    with pytest.raises(ValueError, match="not an event"):
        riverlens.read_event(orjson.dumps(body))
