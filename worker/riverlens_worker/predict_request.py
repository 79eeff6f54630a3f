"""A Predict call's request, as the bytes that gRPC sends: each row is copied once. Pure but for the stubs.

protobuf would copy the rows into the message and out of it again. It writes everything but them; the field
that holds them is put behind, as protobuf's encoding has it: fields come in any order, a submessage is a
tag, its length, its bytes (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from riverlens.signature import Layout
from riverlens_worker._stubs import PredictRequest, TensorProto
from riverlens_worker.dtypes import ENUMS

Rows = Sequence[bytes | NDArray[np.generic]]
"""Of one call: encoded images, or arrays of one shape and of the layout's dtype."""

_INPUTS = PredictRequest.DESCRIPTOR.fields_by_name["inputs"].number
_CONTENT = TensorProto.DESCRIPTOR.fields_by_name["tensor_content"].number
_STRINGS = TensorProto.DESCRIPTOR.fields_by_name["string_val"].number
_KEY, _VALUE = 1, 2  # of an entry in any map
_LENGTH_DELIMITED = 2


def predict_request(model: str, layout: Layout, rows: Rows) -> bytes:
    """A serialised PredictRequest of `rows` (at least one, equal shapes) that fetches the layout's outputs.

    Numbers travel as `tensor_content`, strings as `string_val`. Where the model fixes the number of rows,
    the last one is repeated to fill it.
    """
    if layout.rows is not None:
        rows = [*rows, *[rows[-1]] * (layout.rows - len(rows))]
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = layout.signature
    request.output_filter.extend(layout.outputs)
    tensor = _tensor(layout.dtype, rows)
    name = layout.alias.encode()
    entry = [_header(_KEY, len(name)), name, _header(_VALUE, sum(map(len, tensor))), *tensor]
    return b"".join((request.SerializeToString(), _header(_INPUTS, sum(map(len, entry))), *entry))


def _tensor(dtype: str, rows: Rows) -> list[bytes | memoryview]:
    """Pieces of a serialised TensorProto."""
    start = TensorProto(dtype=ENUMS[dtype])
    first = rows[0]
    for size in (len(rows), *(first.shape if isinstance(first, np.ndarray) else ())):
        start.tensor_shape.dim.add(size=size)
    pieces: list[bytes | memoryview] = [start.SerializeToString()]
    raw = [_raw(row) for row in rows]
    if dtype == "string":
        for row in raw:
            pieces += (_header(_STRINGS, len(row)), row)
    else:
        pieces += (_header(_CONTENT, sum(map(len, raw))), *raw)
    return pieces


def _raw(row: bytes | NDArray[np.generic]) -> bytes | memoryview:
    return row if isinstance(row, bytes) else np.ascontiguousarray(row).reshape(-1).view(np.uint8).data


def _header(field: int, nbytes: int) -> bytes:
    """What stands before a field of `nbytes` bytes."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(nbytes)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have their top bit set."""
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
