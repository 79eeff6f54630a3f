"""TensorFlow Serving's messages as far as a simulator needs them, from and to raw bytes. Pure.

A request's tensors are megabytes that nobody looks at: only the number of rows is read, from the bytes, by
walking over the fields of PredictRequest (predict.proto: inputs = 2) and TensorProto (tensor.proto:
tensor_shape = 2, which is written before the content).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int, int]
"""(field number, where its content begins, where it ends); for varints the content is the varint itself."""

_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5
_DT_FLOAT = 1
_MODEL_SPEC, _INPUTS = 1, 2
_MAP_KEY, _MAP_VALUE = 1, 2
_TENSOR_SHAPE, _DIM, _SIZE = 2, 2, 1


def rows_in(request: bytes) -> int:
    """Rows of a serialised PredictRequest: the first dimension of its first input.

    Raises:
        ValueError: no input, or one without a first dimension.
    """
    for number, begin, end in _fields(request, 0, len(request)):
        if number == _INPUTS:
            return _first_dimension(request, begin, end)
    raise ValueError("a PredictRequest without inputs")


def signature_in(request: bytes) -> str:
    """The signature that a serialised PredictRequest names (model.proto: signature_name = 3); "" if none."""
    for number, begin, end in _fields(request, 0, len(request)):
        if number == _MODEL_SPEC:
            for inner, start, stop in _fields(request, begin, end):
                if inner == 3:  # noqa: PLR2004  # as said
                    return request[start:stop].decode("utf-8", "replace")
    return ""


def _first_dimension(data: bytes, begin: int, end: int) -> int:
    path = (_MAP_VALUE, _TENSOR_SHAPE, _DIM)
    for wanted in path:
        for number, start, stop in _fields(data, begin, end):
            if number == wanted:
                begin, end = start, stop
                break
        else:
            raise ValueError("an input without a first dimension")
    for number, start, _ in _fields(data, begin, end):
        if number == _SIZE:
            return _varint(data, start)[0]
    return 0


def _fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at)
            yield tag >> 3, at, at + size
            at += size
        elif kind == _VARINT:
            begin = at
            _, at = _varint(data, at)
            yield tag >> 3, begin, at
        elif kind in {_I64, _I32}:
            size = 8 if kind == _I64 else 4
            yield tag >> 3, at, at + size
            at += size
        else:
            raise ValueError(f"not a protocol buffer: wire type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last byte's highest bit is clear
            return value, at
        shift += 7


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004  # as above
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _part(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _whole(number: int, value: int) -> bytes:
    return _number(number << 3 | _VARINT) + _number(value)


def _floats(shape: tuple[int, ...], values: list[float]) -> bytes:
    """A TensorProto of floats as TensorFlow Serving answers: in float_val (5), packed."""
    dims = b"".join(_part(_DIM, _whole(_SIZE, size)) for size in shape)
    return _whole(1, _DT_FLOAT) + _part(2, dims) + _part(5, struct.pack(f"<{len(values)}f", *values))


def detector_answer(model: str, rows: int, boxes: int, found: int) -> bytes:
    """A serialised PredictResponse of an Object Detection API model: `boxes` a row, `found` of them sure.

    As such models answer: detection_boxes [N,K,4], detection_scores, detection_classes [N,K] and
    num_detections [N], all floats, the best score first, K boxes in every row however bad.
    """
    scores = [0.9 - 0.1 * place if place < found else 0.05 for place in range(boxes)]
    corners = [0.2, 0.3, 0.6, 0.7]
    outputs = {
        "detection_boxes": _floats((rows, boxes, 4), corners * (boxes * rows)),
        "detection_scores": _floats((rows, boxes), scores * rows),
        "detection_classes": _floats((rows, boxes), [1.0 + place % 5 for place in range(boxes)] * rows),
        "num_detections": _floats((rows,), [float(boxes)] * rows),
    }
    parts = [
        _part(1, _part(_MAP_KEY, alias.encode()) + _part(_MAP_VALUE, tensor))
        for alias, tensor in outputs.items()
    ]
    version = _part(2, _whole(1, 1))
    return b"".join(parts) + _part(2, _part(1, model.encode()) + version + _part(3, b"serving_default"))
