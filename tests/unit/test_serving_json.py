"""JSON to arrays and back: the quick way and the careful one agree."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import types_pb2

from riverlens_serving import json_replies, json_tensors, json_text
from riverlens_serving.status import Code, ServingError

FLOAT, UINT8, INT64 = types_pb2.DT_FLOAT, types_pb2.DT_UINT8, types_pb2.DT_INT64
NUMBERS = [FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT32, UINT8, INT64, types_pb2.DT_UINT64]

leaves = st.one_of(
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.just({"b64": "AA=="}),
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=8)


def _outcome(value: Any, data_type: int, *, carefully: bool) -> Any:
    # Where the body is said to hold booleans, every value is walked.
    try:
        found = json_tensors.from_columns([value], {"x": data_type}, has_booleans=carefully)["x"]
    except ServingError as error:
        return error.code, error.message
    return found.dtype, found.shape, found.tobytes()


def _has_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and any(map(_has_boolean, value)))


@given(values, st.sampled_from(NUMBERS))
def test_the_quick_way_agrees_with_the_careful_one(value: Any, data_type: int) -> None:
    """Whatever numpy reads at once, a walk value by value reads alike, and refuses nothing that it takes."""
    quick = _outcome(value, data_type, carefully=_has_boolean(value))
    assert quick == _outcome(value, data_type, carefully=True)


@given(st.lists(values, min_size=1, max_size=3), st.sampled_from(NUMBERS))
def test_rows_by_name_agree_with_rows(rows: list[Any], data_type: int) -> None:
    """A list of rows and a list of objects of one name give the same array, or both are refused."""

    def outcome(given_rows: list[Any]) -> Any:
        try:
            return json_tensors.from_rows(given_rows, {"x": data_type}, has_booleans=_has_boolean(rows))["x"]
        except ServingError:
            return None

    plain, named = outcome(rows), outcome([{"x": row} for row in rows])
    if plain is None or named is None:
        assert plain is named
    else:
        np.testing.assert_array_equal(plain, named)


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_]),
        arrays.array_shapes(max_dims=3, max_side=3),
    )
)
def test_what_is_written_reads_back(array: Any) -> None:
    """Every number survives the way through JSON, NaN and infinities too."""
    for text in (json_replies.rows({"y": array}), json_replies.columns({"y": array})):
        (value,) = json.loads(text).values()
        assert np.array_equal(np.array(value, array.dtype), array, equal_nan=array.dtype.kind == "f")


def test_several_outputs_are_objects() -> None:
    """Rows zip several outputs by name; columns keep them whole; strings of `_bytes` are base64."""
    outputs = {"n": np.array([1, 2]), "raw_bytes": np.array([b"\xff", b""], object)}
    assert json.loads(json_replies.rows(outputs)) == {
        "predictions": [{"n": 1, "raw_bytes": {"b64": "/w=="}}, {"n": 2, "raw_bytes": {"b64": ""}}]
    }
    assert json.loads(json_replies.columns(outputs)) == {
        "outputs": {"n": [1, 2], "raw_bytes": [{"b64": "/w=="}, {"b64": ""}]}
    }


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, "Tensor name: b has inconsistent batch size: 3 expecting: 2"),
        ({"a": np.float32(1).reshape(())}, "Tensor name: a has no shape information "),
        ({"a": np.zeros(2, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ({"a": np.zeros(2, np.uint16)}, "Failed to write JSON value for tensor type: uint16"),
    ],
)
def test_what_is_no_row_is_refused(outputs: dict[str, Any], message: str) -> None:
    """Outputs without a common number of rows, or of types that JSON does not carry, are refused."""
    with pytest.raises(ServingError) as caught:
        json_replies.rows(outputs)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  ", "JSON Parse error: The document is empty. at offset: 2"),
        (b' {"a": }', "JSON Parse error: Invalid value. at offset: 7"),
        (b'{"a": "\xff"}', "JSON Parse error: Invalid encoding in string. at offset: 7"),
        (b"[" * 100_000, "JSON Parse error: nested too deeply. at offset: 0"),
        (b'{"a": 1e400}', "JSON Parse error: Number too big to be stored in double. at offset: 6"),
        (
            b'{"a": [' + b"1" * 5000 + b"]}",
            "JSON Parse error: Number too big to be stored in double. at offset: 7",
        ),
        (b'{"a": "\\ud800"}', "JSON Parse error: The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": Infinite}', "JSON Parse error: Invalid value. at offset: 6"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, message: str) -> None:
    """A body that does not parse is told with the offset where it ends to make sense."""
    with pytest.raises(ServingError) as caught:
        json_text.parse(body)
    assert caught.value.message == message


def test_what_follows_the_document_is_ignored() -> None:
    """As TensorFlow Serving's parser, this one stops when the document is done."""
    assert math.isnan(json_text.parse(b'{"a": NaN} and so on')["a"])


def test_short_forms_of_numbers_are_read() -> None:
    """RapidJSON takes Inf, -Inf and -NaN too; in a string they stay text, as whole pairs of surrogates do."""
    found = json_text.parse(b'{"a": [Inf, -Inf, -NaN, Infinity, "Inf\\"Inf", "\\ud83d\\ude00"]}')["a"]
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])
    assert found[3:] == [math.inf, 'Inf"Inf', "\U0001f600"]


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 2**70])
@pytest.mark.parametrize("besides", [b"1", b"NaN"])
def test_integers_beyond_64_bits_are_doubles(number: int, besides: bytes) -> None:
    """Whichever reader gets the body, a number that no integer type holds is RapidJSON's double."""
    found = json_text.parse(b'{"a": [%d, %d, %s]}' % (number, 2**64 - 1, besides))["a"]
    assert (type(found[0]), found[0], found[1]) == (float, float(number), 2**64 - 1)


@pytest.mark.parametrize("depth", [70, 900])
def test_lists_deeper_than_any_tensor_are_refused(depth: int) -> None:
    """A list nested beyond what an array has dimensions is the caller's mistake, however deep it is."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    for read in (json_tensors.from_columns, json_tensors.from_rows):
        with pytest.raises(ServingError) as caught:
            read(value, {"x": FLOAT}, has_booleans=False)
        assert caught.value.code is Code.INVALID_ARGUMENT


def test_quotes_are_cut() -> None:
    """A value in an error text ends near 256 bytes, however long it is."""
    assert json_text.quoted([1.5, "a", None, True]) == '[1.5, "a", null, true]'
    assert len(json_text.quoted(list(range(10_000)))) < 270
