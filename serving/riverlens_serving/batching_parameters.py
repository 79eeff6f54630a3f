"""How requests are merged into batches: TensorFlow Serving's BatchingParameters, defaults and checks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from riverlens.errors import SettingsError
from riverlens_serving.status import invalid
from riverlens_serving.text_proto import read_batching_parameters


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """Tune in this order: `max_batch_size` (what the device likes), threads (1 a device), timeout.

    A batch is taken when it is full or old enough *and* a batch thread is free. So with a timeout of 0
    batches form only while every thread is busy: many threads and no timeout means no batching.
    """

    max_batch_size: int = 1000
    """Rows: limit of one request and of a batch."""
    batch_timeout_micros: int = 0
    """A batch that is not full may go this long after its first request came."""
    max_enqueued_batches: int = 10
    """Per queue; beyond it requests are refused with UNAVAILABLE."""
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Batches run at once, over all models, versions and signatures."""
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    """Batches are padded up to the next of these by repeating a row. Empty: never padded."""
    pad_variable_length_inputs: bool = False
    """Requests of other shapes are padded to the largest in the batch; answers are not cut back."""
    enable_large_batch_splitting: bool = False
    """A request may be spread over several batches. `max_batch_size` still limits what one may ask."""
    max_execution_batch_size: int = 0
    """Rows of a batch where splitting is on; 0: `max_batch_size`."""

    @property
    def batch_limit(self) -> int:
        """Rows that one batch may have."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def next_allowed(self, rows: int) -> int:
        """Rows after padding."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def check_for_load(parameters: BatchingParameters) -> None:
    """What TensorFlow Serving finds wrong only when it loads a model.

    Raises:
        ServingError: INVALID_ARGUMENT; the model's load fails with it.
    """
    if parameters.batch_limit > parameters.max_batch_size:
        raise invalid(
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal"
            f" to max_execution_batch_size.{int(parameters.enable_large_batch_splitting)}"
            f"{parameters.max_batch_size}{parameters.max_execution_batch_size}"
        )
    sizes = parameters.allowed_batch_sizes
    if not sizes:
        return
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise invalid("allowed_batch_sizes entries must be monotonically increasing")
    if sizes[-1] != parameters.max_batch_size:
        raise invalid(
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was"
            f" {sizes[-1]}; expected {parameters.max_batch_size}"
        )


def read(path: Path | None) -> BatchingParameters:
    """The parameters of a text file; TensorFlow Serving's defaults where there is none.

    Raises:
        SettingsError: unreadable, not a BatchingParameters text, or numbers out of range.
    """
    if path is None:
        return BatchingParameters(thread_pool_name="model_server_batch_threads")
    message = read_batching_parameters(path)
    problems = []
    numbers = {}
    for name, lowest in _LOWEST.items():
        if message.HasField(name):
            numbers[name] = getattr(message, name).value
            if numbers[name] < lowest:
                problems.append(f"{name} must be at least {lowest}; was {numbers[name]}")
    if problems:
        raise SettingsError(
            "\n".join(f"--batching_parameters_file: {path}: {problem}" for problem in problems)
        )
    splitting = message.enable_large_batch_splitting.value
    if numbers.get("max_enqueued_batches") == 0 and not splitting:
        numbers["max_enqueued_batches"] = 1
    return BatchingParameters(
        **numbers,
        thread_pool_name=message.thread_pool_name.value or "batch_threads",
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        enable_large_batch_splitting=splitting,
    )


_LOWEST = {
    "max_batch_size": 1,
    "batch_timeout_micros": 0,
    "max_enqueued_batches": 0,
    "num_batch_threads": 1,
    "max_execution_batch_size": 0,
}
"""Lowest values; `max_enqueued_batches` 0 is rewritten to 1 unless splitting, as TensorFlow does."""
