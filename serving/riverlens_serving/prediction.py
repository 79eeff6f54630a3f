"""Predict on one loaded version: TensorFlow Serving's checks in its order, and the reply's bytes.

The first failing check wins: signature, method name, input count, each input, output filter, then the run.
Texts: predict_util.cc in TensorFlow Serving and cc/saved_model/util.cc in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from riverlens_serving import tensors, wire
from riverlens_serving.config import PredictOptions
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array

DEFAULT_SIGNATURE = "serving_default"

_METHOD_NAMES = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")

_OUTPUTS, _MODEL_SPEC = 1, 2
"""Field numbers of PredictResponse."""
_KEY, _VALUE = 1, 2
"""Field numbers of a map entry."""


@dataclass(frozen=True, slots=True)
class Call:
    """A checked request, ready to run."""

    signature_name: str
    feeds: dict[str, Array]
    """Arrays by tensor name."""
    aliases: tuple[str, ...]
    """Output names as the caller knows them."""
    fetches: tuple[str, ...]
    """Their tensor names, in the same order."""


def prepare(request: Any, servable: Servable, options: PredictOptions) -> Call:
    """Check a PredictRequest against the version that will answer it, and decode its inputs.

    Raises:
        ServingError: rows 7 to 14 of TensorFlow Serving's checks.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signature_defs.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    _check_method(signature, options)
    _check_input_count(request.inputs, signature)
    feeds = _feeds(request.inputs, signature)
    aliases = _aliases(request.output_filter, signature)
    return Call(name, feeds, aliases, tuple(signature.outputs[alias].name for alias in aliases))


def whole_call(name: str, signature: Any, arrays: Mapping[str, Array], options: PredictOptions) -> Call:
    """A call of a signature with all its inputs, by alias, for all its outputs.

    Raises:
        ServingError: INTERNAL, a method name that Predict does not serve.
    """
    _check_method(signature, options)
    aliases = _aliases((), signature)
    feeds = {signature.inputs[alias].name: array for alias, array in arrays.items()}
    return Call(name, feeds, aliases, tuple(signature.outputs[alias].name for alias in aliases))


def _check_method(signature: Any, options: PredictOptions) -> None:
    if options.check_method_name and signature.method_name not in _METHOD_NAMES:
        raise ServingError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of {" + ", ".join(_METHOD_NAMES) + "}. Was: "
            f"{signature.method_name}",
        )


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _check_input_count(inputs: Any, signature: Any) -> None:
    sent, known = len(inputs), len(signature.inputs)
    if sent == known or (sent < known and signature.defaults):
        return
    sent_names, known_names = set(inputs), set(signature.inputs)
    raise invalid(
        f"input size does not match signature: {sent}!={known} len({{{_joined(sent_names)}}}) !="
        f" len({{{_joined(known_names)}}}). Sent extra: {{{_joined(sent_names - known_names)}}}."
        f" Missing but required: {{{_joined(known_names - sent_names)}}}."
    )


def _feeds(inputs: Any, signature: Any) -> dict[str, Array]:
    feeds = {}
    used = set()
    for alias in sorted(signature.inputs):
        feed_name = signature.inputs[alias].name
        if alias in inputs:
            proto = inputs[alias]
            used.add(alias)
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {feed_name}) not found in request and no default"
                f" value provided. Inputs expected to be in the request {{{_joined(inputs)}}}, or default"
                f" input alias set: {_joined(signature.defaults)}"
            )
        try:
            feeds[feed_name] = tensors.decode(proto)
        except tensors.TensorParseError as error:
            raise invalid(f"tensor parsing error: {alias}") from error
    if len(used) != len(inputs):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)}, request input:"
            f" {_joined(inputs)}"
        )
    return feeds


def _aliases(output_filter: Sequence[str], signature: Any) -> tuple[str, ...]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set"
                f" {{{_joined(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return tuple(seen) or tuple(sorted(signature.outputs))


def model_spec(name: str, version: int, signature_name: str = "") -> bytes:
    """A serialized ModelSpec with the resolved version; a label that was asked for is not echoed."""
    fields = wire.delimited(1, name.encode()) + wire.delimited(2, wire.number(1, version) if version else b"")
    if signature_name:
        fields += wire.delimited(3, signature_name.encode())
    return fields


def reply(
    name: str, version: int, call: Call, outputs: Sequence[Array], servable: Servable, *, as_content: bool
) -> bytes:
    """The serialized PredictResponse.

    Raises:
        ServingError: UNKNOWN, if the run gave another number of outputs than asked for.
    """
    if len(outputs) != len(call.aliases):
        raise ServingError(Code.UNKNOWN, "Predict internal error")
    parts = []
    for alias, tensor_name, array in zip(call.aliases, call.fetches, outputs, strict=True):
        proto = tensors.encode(array, servable.session.data_type(tensor_name), as_content=as_content)
        parts.append(
            wire.delimited(_OUTPUTS, wire.delimited(_KEY, alias.encode()) + wire.delimited(_VALUE, proto))
        )
    parts.append(wire.delimited(_MODEL_SPEC, model_spec(name, version, call.signature_name)))
    return b"".join(parts)
