"""Classify's and Regress's JSON to an Input message: `examples` and, optionally, a `context` that they share.

Texts: json_tensor.cc.
"""

from __future__ import annotations

from typing import Any

from tensorflow.core.example import feature_pb2
from tensorflow_serving.apis import input_pb2

from riverlens_serving.json_tensors import decode_b64, is_b64
from riverlens_serving.json_text import type_name, wrong
from riverlens_serving.status import invalid

_INT64_MAX = 2**63 - 1
_UINT64_MAX = 2**64 - 1
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def to_input(document: dict[str, Any]) -> Any:
    """The Input of a request's body.

    Raises:
        ServingError: INVALID_ARGUMENT, no examples, or a value that no feature carries.
    """
    message = input_pb2.Input()
    with_context = "context" in document
    if with_context:
        _fill(document["context"], message.example_list_with_context.context)
    if "examples" not in document:
        raise wrong(document, "When method is classify, key 'examples' is expected and was not found")
    given = document["examples"]
    if not isinstance(given, list):
        raise wrong(document, "Expecting 'examples' value to be an list/array")
    if not given:
        raise wrong(document, "'examples' value is an empty array")
    target = message.example_list_with_context if with_context else message.example_list
    for value in given:
        _fill(value, target.examples.add())
    return message


def _fill(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for item in content if isinstance(content, list) else (content,):
            _add(item, name, feature)
        example.features.feature[name].CopyFrom(feature)
    if not value:
        example.features.SetInParent()


def _add(value: Any, name: str, feature: Any) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_b64(value)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    match value:
        case bool():
            _list(feature, "int64_list", name).append(int(value))
        case dict():
            _list(feature, "bytes_list", name).append(decode_b64(value))
        case str():
            _list(feature, "bytes_list", name).append(value.encode())
        case float():
            _list(feature, "float_list", name).append(value)
        case _:
            values = _list(feature, "int64_list", name)
            if _INT64_MAX < value <= _UINT64_MAX:
                raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
            values.append(value)


def _list(feature: Any, kind: str, name: str) -> Any:
    present = feature.WhichOneof("kind")
    if present not in {None, kind}:
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    return getattr(feature, kind).value
