"""Classify and Regress: tf.Examples in, labels and scores or values out, with TensorFlow Serving's checks.

Texts: classifier.cc and regressor.cc in TensorFlow Serving. Pure: messages and arrays, no session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from riverlens_serving.status import invalid
from riverlens_serving.tensors import Array

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"
_KIND = {CLASSIFY: "classification", REGRESS: "regression"}
_MATRIX_RANK = 2


@dataclass(frozen=True, slots=True)
class ExampleCall:
    """Which tensors a signature takes and gives, by alias."""

    input_name: str
    outputs: dict[str, str]
    """Alias -> tensor name, of the aliases that the method reads."""


def signature(signature_defs: Any, name: str) -> Any:
    """The signature of that name.

    Raises:
        ServingError: INVALID_ARGUMENT, where Predict says FAILED_PRECONDITION.
    """
    found = signature_defs.get(name)
    if found is None:
        raise invalid(f"No signature was found with the name: {name}")
    return found


def prepare(signature_def: Any, method: str, *, check_method_name: bool) -> ExampleCall:
    """Whether a signature can classify or regress, and through which tensors.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot.
    """
    kind = _KIND[method]
    if check_method_name and signature_def.method_name != method:
        raise invalid(
            f"Expected {kind} signature method_name to be {method}. Was: {signature_def.method_name}"
        )
    if len(signature_def.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    _check_output_count(method, len(signature_def.outputs))
    if _INPUTS not in signature_def.inputs:
        raise invalid(f"No {kind} inputs found in SignatureDef: {signature_def}")
    wanted = (_CLASSES, _SCORES) if method == CLASSIFY else (_OUTPUTS,)
    outputs = {alias: signature_def.outputs[alias].name for alias in wanted if alias in signature_def.outputs}
    if not outputs and method == CLASSIFY:
        raise invalid(
            'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            f" Signature was: {signature_def}"
        )
    if not outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {signature_def}")
    return ExampleCall(signature_def.inputs[_INPUTS].name, outputs)


def _check_output_count(method: str, count: int) -> None:
    if method == CLASSIFY and count not in {1, 2}:
        raise invalid(f"Expected one or two output Tensors, found {count}")
    if method == REGRESS and count != 1:
        raise invalid("Expected one output Tensor.")


def serialized(message: Any) -> Array:
    """A request's Input as strings [N]: each tf.Example serialized, after the context that all share.

    Raises:
        ServingError: INVALID_ARGUMENT, no example in it.
    """
    context = b""
    examples: Sequence[Any] = ()
    match message.WhichOneof("kind"):
        case "example_list":
            examples = message.example_list.examples
        case "example_list_with_context":
            context = message.example_list_with_context.context.SerializeToString()
            examples = message.example_list_with_context.examples
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    # Two serialized messages one after the other are their merge: an example's own features win.
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type_name(array: Array) -> str:
    if array.dtype == object:
        return "DT_STRING"
    return str(types_pb2.DataType.Name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum))


def _check_matrix(title: str, array: Array, want: str, count: int) -> None:
    if array.ndim != _MATRIX_RANK:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if _type_name(array) != want:
        raise invalid(f"Expected {title} Tensor of {want}. Got: {_type_name(array)}")
    if len(array) != count:
        raise invalid(f"Expected {title} output batch size of {count}. Got: {len(array)}")


def classification(outputs: dict[str, Array], count: int) -> Any:
    """The ClassificationResult of a run over `count` examples, its arrays by alias.

    Raises:
        ServingError: INVALID_ARGUMENT, shapes, types or sizes that are no classification.
    """
    classes, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    if classes is not None:
        _check_matrix(_CLASSES, classes, "DT_STRING", count)
    if scores is not None:
        _check_matrix(_SCORES, scores, "DT_FLOAT", count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got"
            f" {classes.shape[1]} vs. {scores.shape[1]}"
        )
    width = next(array.shape[1] for array in (classes, scores) if array is not None)
    labels = classes.tolist() if classes is not None else [[b""] * width] * count
    values = scores.tolist() if scores is not None else [[0.0] * width] * count
    result = classification_pb2.ClassificationResult()
    for row_labels, row_values in zip(labels, values, strict=True):
        row = result.classifications.add()
        for label, value in zip(row_labels, row_values, strict=True):
            # proto3 strings are UTF-8; a label that is not would make the whole reply unreadable.
            row.classes.add(label=label.decode("utf-8", "replace"), score=value)
    return result


def regression(outputs: dict[str, Array], count: int) -> Any:
    """The RegressionResult of a run over `count` examples, its array by alias.

    Raises:
        ServingError: INVALID_ARGUMENT, a shape, type or size that is no regression.
    """
    array = outputs[_OUTPUTS]
    if not (array.ndim == 1 or (array.ndim == _MATRIX_RANK and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {_shape(array)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if _type_name(array) != "DT_FLOAT":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type_name(array)}")
    result = regression_pb2.RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result


RESULTS = {CLASSIFY: classification, REGRESS: regression}
"""Method name -> the function that reads a run's outputs."""
