"""What is unwise, or wrong, in a batching file of TensorFlow Serving: decisions only, on the file's text.

For both sides of the wire: the server that reads the file, and the worker whose batches meet it. The sources
of each rule are named where it stands; the guide is serving/gpu/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMMENT = re.compile(r"#[^\n]*")
_FIELD = re.compile(
    r"""
    \s* (?P<name>\w+) \s*
    (?:
        : \s* (?P<plain>[^\s{},;]+)
      | :? \s* \{ \s* (?: value \s* : \s* (?P<wrapped>[^\s{},;]+) )? \s* [,;]? \s* \}
    )
    \s* [,;]?
    """,
    re.VERBOSE,
)

_DEFAULT_MAX_BATCH_SIZE = 1000
_DEFAULT_TIMEOUT_MICROS = 0
_DEFAULT_MAX_ENQUEUED = 10
_LONG_TIMEOUT_MICROS = 100_000
"""A tenth of a second: longer than any camera's frame should wait for company."""


@dataclass(frozen=True, slots=True)
class BatchingFile:
    """The fields of BatchingParameters that the rules look at; None where the file leaves one out."""

    max_batch_size: int | None = None
    batch_timeout_micros: int | None = None
    max_enqueued_batches: int | None = None
    num_batch_threads: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    @property
    def row_limit(self) -> int:
        """Rows that one request may have."""
        return _DEFAULT_MAX_BATCH_SIZE if self.max_batch_size is None else self.max_batch_size


def read(text: str) -> BatchingFile:
    """The fields of a BatchingParameters text.

    Reads what such files hold, `name { value: N }` and `name: N`, with comments, not all of the text format;
    the server's own reader has the last word on the syntax.

    Raises:
        ValueError: something else, told with the text where it begins.
    """
    rest = _COMMENT.sub("", text)
    single: dict[str, str] = {}
    sizes: list[int] = []
    while rest.strip():
        match = _FIELD.match(rest)
        if match is None:
            raise ValueError(f"not a field of BatchingParameters: {rest.strip().splitlines()[0]}")
        name, value = match["name"], match["plain"] or match["wrapped"] or "0"
        if name == "allowed_batch_sizes":
            sizes.append(_number(name, value))
        else:
            single[name] = value
        rest = rest[match.end() :]
    fields: dict[str, Any] = {name: _number(name, single[name]) for name in _NUMBERS if name in single}
    fields |= {name: single.get(name, "").lower() in {"true", "1", "t"} for name in _SWITCHES}
    return BatchingFile(
        **fields,
        allowed_batch_sizes=tuple(sizes),
    )


_NUMBERS = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "max_execution_batch_size",
)
_SWITCHES = ("pad_variable_length_inputs", "enable_large_batch_splitting")


def _number(name: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError as error:
        raise ValueError(f"{name}: {value} is not a whole number") from error


def lint(
    file: BatchingFile,
    *,
    worker_batch: int | None = None,
    cpus: int | None = None,
    devices: int = 1,
    grpc_max_threads: int | None = None,
) -> list[str]:
    """One line for each trap in a batching file, what is worse first; none where it is sound.

    `worker_batch`: rows of the largest request that a worker sends. `cpus`: of the server's machine, its
    number of batch threads where the file names none. `devices`: GPUs, or 1. `grpc_max_threads`: the
    server's flag.
    """
    threads = file.num_batch_threads if file.num_batch_threads is not None else cpus
    return [
        *_sizes(file),
        *_worker(file, worker_batch),
        *_threads(file, threads, devices),
        *_queue(file, threads, grpc_max_threads),
        *_shapes(file),
    ]


def _sizes(file: BatchingFile) -> Iterator[str]:
    sizes = file.allowed_batch_sizes
    if sizes and list(sizes) != sorted(set(sizes)):
        yield "allowed_batch_sizes: must increase; no model would load"
    if sizes and max(sizes) != file.row_limit:
        yield (
            f"allowed_batch_sizes: the last, {sizes[-1]}, must equal max_batch_size, {file.row_limit};"
            " no model would load"
        )
    if file.enable_large_batch_splitting and not file.max_execution_batch_size:
        yield "max_execution_batch_size: set it with enable_large_batch_splitting, or nothing is split"
    if file.enable_large_batch_splitting and (file.max_execution_batch_size or 0) > file.row_limit:
        yield (
            f"max_execution_batch_size: {file.max_execution_batch_size} is above max_batch_size,"
            f" {file.row_limit}; no model would load"
        )


def _worker(file: BatchingFile, worker_batch: int | None) -> Iterator[str]:
    if worker_batch is None:
        return
    if worker_batch > file.row_limit:
        yield (
            f"max_batch_size: {file.row_limit} is below the worker's batch of {worker_batch}; its full"
            f" batches are refused: raise it to {worker_batch}, or lower the worker's"
        )
    elif file.allowed_batch_sizes and worker_batch not in file.allowed_batch_sizes:
        padded = next((size for size in file.allowed_batch_sizes if size > worker_batch), file.row_limit)
        yield (
            f"allowed_batch_sizes: the worker's batch of {worker_batch} is padded to {padded}: add"
            f" {worker_batch}"
        )


def _threads(file: BatchingFile, threads: int | None, devices: int) -> Iterator[str]:
    timeout = _DEFAULT_TIMEOUT_MICROS if file.batch_timeout_micros is None else file.batch_timeout_micros
    if timeout == 0 and threads is not None and threads > devices:
        whose = "" if file.num_batch_threads is not None else " (one a CPU, as none are set)"
        yield (
            f"num_batch_threads: {threads}{whose} with batch_timeout_micros 0 take requests one by one, and"
            f" nothing is merged: set it to {devices}, or the timeout above 0"
        )
    if timeout > _LONG_TIMEOUT_MICROS:
        yield (
            f"batch_timeout_micros: a batch that is not full waits {timeout / 1e6:g} s; the worker's batches"
            " need no timeout"
        )


def _queue(file: BatchingFile, threads: int | None, grpc_max_threads: int | None) -> Iterator[str]:
    enqueued = _DEFAULT_MAX_ENQUEUED if file.max_enqueued_batches is None else file.max_enqueued_batches
    if threads is not None and enqueued < threads:
        yield f"max_enqueued_batches: {enqueued} is below the {threads} batch threads, which then run dry"
    # Each call in the server holds a thread until it is answered (servers of TensorFlow Serving 2.x).
    if grpc_max_threads is not None and file.batch_timeout_micros and grpc_max_threads < file.row_limit:
        yield (
            f"batch_timeout_micros: {grpc_max_threads} calls at once (--grpc_max_threads) of a row each never"
            f" fill a batch of {file.row_limit}, so each waits for the timeout: raise --grpc_max_threads, or"
            " send several rows a call"
        )


def _shapes(file: BatchingFile) -> Iterator[str]:
    if file.pad_variable_length_inputs:
        yield (
            "pad_variable_length_inputs: pads images with their own first element and cuts no answer back;"
            " let the worker batch by shape instead"
        )
