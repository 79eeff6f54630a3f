"""Several requests' tensors into one run's, and the run's answers back: pure, on numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array

_MAX_PADDED_RANK = 6


def count_rows(feeds: Mapping[str, Array]) -> int:
    """The 0th dimension that all inputs share.

    Raises:
        ServingError: INVALID_ARGUMENT, no inputs, a scalar among them, or different sizes.
    """
    if not feeds:
        raise invalid("Batching Run() must have at least one input tensor")
    rows = None
    for array in feeds.values():
        if array.ndim == 0:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if rows is not None and len(array) != rows:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        rows = len(array)
    return rows or 0


def merge(tasks: Sequence[Mapping[str, Array]], parameters: BatchingParameters) -> dict[str, Array]:
    """One batch's inputs by tensor name, padded with rows up to an allowed size.

    Raises:
        ServingError: the requests do not fit together; every one of them gets this.
    """
    rows = sum(len(next(iter(feeds.values()))) for feeds in tasks)
    padding = parameters.next_allowed(rows) - rows
    return {
        name: _merge_one(
            name, [feeds[name] for feeds in tasks], padding, parameters.pad_variable_length_inputs
        )
        for name in sorted(tasks[0])
    }


def _merge_one(name: str, arrays: list[Array], padding: int, pad_shapes: bool) -> Array:  # noqa: FBT001  # private
    if pad_shapes:
        arrays = _padded_alike(arrays)
    elif any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned"
            " off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have"
            " equal dimensions starting with the first dim.",
        )
    if padding:
        # The last task's first row: a row that some caller did send is one that the model can take.
        arrays = [*arrays, np.repeat(arrays[-1][:1], padding, axis=0)]
    return _joined(arrays)


def _joined(arrays: list[Array]) -> Array:
    first = arrays[0]
    if len(arrays) == 1:
        return first
    odd = next((array for array in arrays if array.dtype != first.dtype), None)
    if odd is not None:
        raise ServingError(
            Code.INTERNAL,
            "Tensor concat operation failed: INVALID_ARGUMENT: Cannot concatenate tensors that have different"
            f" data types. Got {_c_name(first)} and {_c_name(odd)}.",
        )
    if any(array.ndim != first.ndim for array in arrays):
        raise ServingError(
            Code.INTERNAL, "Tensor concat operation failed: INVALID_ARGUMENT: tensors have different ranks"
        )
    return np.concatenate(arrays)


def _c_name(array: Array) -> str:
    names = {"float32": "float", "float64": "double", "float16": "half", "object": "string"}
    name = array.dtype.names[0] if array.dtype.names else array.dtype.name
    return names.get(name, name)


def _padded_alike(arrays: list[Array]) -> list[Array]:
    """Each array grown at the end of its dimensions >= 1 to the largest, filled with its first element."""
    if any(array.ndim != arrays[0].ndim for array in arrays):
        return arrays
    target = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    return [_padded(array, (len(array), *target)) for array in arrays]


def _padded(array: Array, shape: tuple[int, ...]) -> Array:
    if array.ndim > _MAX_PADDED_RANK:
        raise invalid("Only tensors with rank from 1 to 6 can be padded.")
    if array.shape == shape:
        return array
    if array.size == 0:
        raise invalid("Got empty tensor in batch of non-empty tensors.")
    grown = np.full(shape, array.flat[0], array.dtype)
    grown[tuple(slice(0, size) for size in array.shape)] = array
    return grown


def split(outputs: Sequence[Array], rows: Sequence[int], parameters: BatchingParameters) -> list[list[Array]]:
    """Each request's part of a run's outputs, in order; rows that padding added are dropped.

    Raises:
        ServingError: FAILED_PRECONDITION, the model's output does not follow its batch dimension.
    """
    total = parameters.next_allowed(sum(rows))
    for array in outputs:
        if array.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(array) != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of"
                " the input tensors",
            )
    parts, start = [], 0
    for count in rows:
        parts.append([array[start : start + count] for array in outputs])
        start += count
    return parts
