"""Serialised Predict requests, held to protobuf's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.signature import InputKind, Layout, OutputKind
from riverlens_worker._stubs import PredictRequest
from riverlens_worker.dtypes import ENUMS
from riverlens_worker.predict_request import Rows, predict_request

LAYOUT = Layout(
    signature="serving_default",
    alias="input_tensor",
    kind=InputKind.PIXELS,
    dtype="uint8",
    height=None,
    width=None,
    rows=None,
    output_kind=OutputKind.DETECTIONS,
    outputs=("detection_boxes", "detection_scores"),
)


def _by_protobuf(model: str, layout: Layout, rows: Rows) -> Any:
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = layout.signature
    request.output_filter.extend(layout.outputs)
    tensor = request.inputs[layout.alias]
    tensor.dtype = ENUMS[layout.dtype]
    for size in (len(rows), *(rows[0].shape if isinstance(rows[0], np.ndarray) else ())):
        tensor.tensor_shape.dim.add(size=size)
    if layout.dtype == "string":
        tensor.string_val.extend(rows)
    else:
        tensor.tensor_content = b"".join(np.asarray(row).tobytes() for row in rows)
    return request


@given(rows=st.lists(st.binary(max_size=300), min_size=1, max_size=40), alias=st.text(max_size=200))
def test_encoded_rows_are_what_protobuf_writes(rows: list[bytes], alias: str) -> None:
    """Any bytes under any alias, empty ones too: a server reads the same request."""
    layout = replace(LAYOUT, dtype="string", alias=alias)
    sent = PredictRequest.FromString(predict_request("detector", layout, rows))
    assert sent == _by_protobuf("detector", layout, rows)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (5, 3), (127, 1, 1), (64, 128, 3)], ids=str)
def test_rows_of_numbers_are_what_protobuf_writes(dtype: str, shape: tuple[int, ...]) -> None:
    """Any type and size, turned views too: a server reads the same request."""
    layout = replace(LAYOUT, dtype=dtype)
    rows = [np.random.default_rng(k).integers(0, 100, shape[::-1]).astype(dtype).T for k in range(3)]
    sent = PredictRequest.FromString(predict_request("detector", layout, rows))
    assert sent == _by_protobuf("detector", layout, rows)


def test_a_fixed_number_of_rows_is_filled_with_the_last() -> None:
    """A model that takes four rows gets four."""
    layout = replace(LAYOUT, dtype="string", rows=4)
    sent = PredictRequest.FromString(predict_request("detector", layout, [b"a", b"b"]))
    assert list(sent.inputs["input_tensor"].string_val) == [b"a", b"b", b"b", b"b"]
