"""What is unwise in a batching file, and that the lint reads what the server reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.batching_lint import BatchingFile, lint, read
from riverlens_serving import batching_parameters

GPU_FILE = Path(__file__).resolve().parents[2] / "serving" / "gpu" / "batching.config"


def test_the_gpu_containers_file_has_no_trap() -> None:
    """serving/gpu's file is sound for one GPU and the worker's default batch."""
    assert lint(read(GPU_FILE.read_text()), worker_batch=32, cpus=16, grpc_max_threads=64) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_size { value: 8 }\nallowed_batch_sizes: 4", "the last, 4, must equal max_batch_size, 8;"),
        ("allowed_batch_sizes: 4", "the last, 4, must equal max_batch_size, 1000;"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 4 allowed_batch_sizes: 2", "must increase"),
        ("num_batch_threads { value: 8 }", "num_batch_threads: 8 with batch_timeout_micros 0"),
        ("", "num_batch_threads: 16 (one a CPU, as none are set) with batch_timeout_micros 0"),
        ("num_batch_threads { value: 1 } max_batch_size: 16", "below the worker's batch of 32"),
        (
            "max_batch_size { value: 48 } allowed_batch_sizes: 24, allowed_batch_sizes: 48",
            "the worker's batch of 32 is padded to 48",
        ),
        ("batch_timeout_micros { value: 5000000 }", "waits 5 s"),
        (
            "batch_timeout_micros { value: 500 } max_batch_size { value: 128 }",
            "64 calls at once (--grpc_max_threads) of a row each never fill a batch of 128",
        ),
        ("num_batch_threads { value: 16 }", "max_enqueued_batches: 10 is below the 16 batch threads"),
        ("enable_large_batch_splitting { value: true }", "max_execution_batch_size: set it"),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2000 }",
            "2000 is above max_batch_size",
        ),
        ("pad_variable_length_inputs: true", "pads images with their own first element"),
    ],
)
def test_each_trap_is_one_line(text: str, expected: str) -> None:
    """Each known trap is told once, with the knob that mends it."""
    found = lint(read(text), worker_batch=32, cpus=16, grpc_max_threads=64)
    assert len([line for line in found if expected in line]) == 1, found


@pytest.mark.parametrize(
    "text", ["improperly formatted file", "max_batch_size { value: many }", "a: { b: 1 }"]
)
def test_another_text_is_told(text: str) -> None:
    """A text that is no such file is an error, not a file without traps."""
    with pytest.raises(ValueError, match=r"not a"):
        read(text)


numbers = st.integers(1, 10**6)


@given(
    st.dictionaries(
        st.sampled_from(
            ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
        ),
        numbers,
    ),
    st.lists(numbers, max_size=4),
    st.booleans(),
)
def test_it_reads_what_the_server_reads(
    tmp_path_factory: pytest.TempPathFactory,
    fields: dict[str, Any],
    sizes: list[int],
    pads: bool,  # noqa: FBT001  # drawn
) -> None:
    """Any file that the server takes means the same to the lint."""
    text = "".join(f"{name} {{ value: {value} }}  # a comment\n" for name, value in fields.items())
    text += "".join(f"allowed_batch_sizes: {size},\n" for size in sizes)
    text += f"pad_variable_length_inputs: {str(pads).lower()}\n"
    path = tmp_path_factory.getbasetemp() / "lint.config"
    path.write_text(text)
    theirs, ours = batching_parameters.read(path), read(text)
    assert ours == BatchingFile(**fields, allowed_batch_sizes=tuple(sizes), pad_variable_length_inputs=pads)
    assert all(getattr(theirs, name) == value for name, value in fields.items())
    assert (theirs.allowed_batch_sizes, theirs.pad_variable_length_inputs) == (tuple(sizes), pads)
