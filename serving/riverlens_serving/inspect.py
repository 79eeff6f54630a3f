"""`riverlens serving inspect PATH`: what a SavedModel serves, and whether its rows may share a call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from riverlens.errors import SettingsError
from riverlens_serving.run import import_tensorflow
from riverlens_serving.versions import parse_version

_PROTO = "saved_model.pb"


def main(argv: list[str], prog: str) -> int:
    """Print each signature's inputs and outputs: alias, dtype, shape (`?` where free), tensor name.

    Then how the worker will feed and read it, and whether several rows in one call answer as single calls do.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="signatures of a SavedModel, and how it batches",
        epilog=f"Try: {prog} serving/models/street",
    )
    parser.add_argument(
        "path", type=Path, help="a version folder, or the folder that holds the numbered ones"
    )
    parser.add_argument("--signature", help="as the worker's setting; default: the one it would choose")
    parser.add_argument("--no-run", action="store_true", help="only read the file")
    given = parser.parse_args(argv)
    folder = version_folder(given.path)
    import_tensorflow()
    sys.stdout.write(f"{folder}\n")
    for line in describe(folder):
        sys.stdout.write(f"{line}\n")
    from riverlens_serving.row_check import compare_rows  # noqa: PLC0415  # imports TensorFlow
    from riverlens_serving.worker_view import worker_view  # noqa: PLC0415  # imports TensorFlow

    for line in worker_view(folder, given.signature, run_model=not given.no_run):
        sys.stdout.write(f"worker: {line}\n")
    if not given.no_run:
        for line in compare_rows(folder):
            sys.stdout.write(f"rows: {line}\n")
    return 0


def version_folder(path: Path) -> Path:
    """The SavedModel itself: `path`, or its highest numbered child.

    Raises:
        SettingsError: neither is one.
    """
    if (path / _PROTO).is_file():
        return path
    numbered = {parse_version(child.name): child for child in path.iterdir()} if path.is_dir() else {}
    versions = {number: child for number, child in numbered.items() if number is not None}
    if versions and (versions[max(versions)] / _PROTO).is_file():
        return versions[max(versions)]
    raise SettingsError(f"{path}: no SavedModel; neither {_PROTO} nor a numbered folder with one is in it")


def describe(folder: Path) -> Iterator[str]:
    """The lines that tell of each signature of each graph in the file.

    Raises:
        SettingsError: the file holds no SavedModel.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415  # after TensorFlow, whose protobuf it is
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415  # imports TensorFlow

    try:
        saved_model = saved_model_pb2.SavedModel.FromString((folder / _PROTO).read_bytes())
    except DecodeError as error:
        raise SettingsError(f"{folder / _PROTO}: not a SavedModel: {error}") from error
    for meta_graph in saved_model.meta_graphs:
        info = meta_graph.meta_info_def
        writer = (
            f"TensorFlow {info.tensorflow_version}" if info.tensorflow_version else "an unknown TensorFlow"
        )
        yield f"tags: {', '.join(info.tags)}; written by {writer}"
        for key in sorted(meta_graph.signature_def):
            signature = meta_graph.signature_def[key]
            yield f"{key}  ({signature.method_name or 'no method name'})"
            for title, tensors in (("in ", signature.inputs), ("out", signature.outputs)):
                for alias in sorted(tensors):
                    yield f"  {title}  {_tensor_line(alias, tensors[alias])}"


def _tensor_line(alias: str, info: Any) -> str:
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415  # imports TensorFlow

    shape = info.tensor_shape
    sizes = ", ".join("?" if dim.size < 0 else str(dim.size) for dim in shape.dim)
    shown = "any shape" if shape.unknown_rank else f"[{sizes}]"
    return f"{alias}: {types_pb2.DataType.Name(info.dtype).removeprefix('DT_').lower()} {shown}  {info.name}"
