"""What kind of model a path holds."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from riverlens.errors import SettingsError
from riverlens_serving.inspect import version_folder

SAVED_MODEL_FILE = "saved_model.pb"

_FOREIGN = {
    ".tflite": "TensorFlow Lite keeps no graph that can be served; export the model it was made from",
    ".onnx": "convert it to a SavedModel first (onnx2tf)",
    ".pt": "export it as a SavedModel first (Ultralytics: yolo export format=saved_model)",
    ".pth": "export it as a SavedModel first (Ultralytics: yolo export format=saved_model)",
    ".pbtxt": "a binary .pb is needed",
}


class Kind(Enum):
    """The forms that are exported."""

    FROZEN_GRAPH = auto()
    META_GRAPH = auto()
    SAVED_MODEL = auto()
    KERAS = auto()


class Source(NamedTuple):
    """What was found.

    Attributes:
        path: the file, or the SavedModel's folder.
        checkpoint: prefix of the checkpoint's files; empty but for a meta graph.
    """

    kind: Kind
    path: Path
    checkpoint: str = ""


def recognise(path: Path, checkpoint: str | None) -> Source:
    """Tell by names what `path` holds: a file, a checkpoint's prefix, or a folder.

    Raises:
        SettingsError: nothing there, or nothing that can be served.
    """
    if path.suffix in {".keras", ".h5", ".hdf5"} and path.is_file():
        return Source(Kind.KERAS, path)
    if path.suffix in _FOREIGN:
        raise SettingsError(f"{path}: {_FOREIGN[path.suffix]}")
    if path.name == SAVED_MODEL_FILE and path.is_file():
        return Source(Kind.SAVED_MODEL, path.parent)
    if path.suffix == ".pb" and path.is_file():
        return Source(Kind.FROZEN_GRAPH, path)
    if path.is_dir() and (path / "checkpoint").is_file():
        return _meta(_latest(path), checkpoint)
    if path.is_dir():
        return Source(Kind.SAVED_MODEL, version_folder(path))
    if path.suffix == ".meta" or path.with_name(f"{path.name}.index").is_file():
        return _meta(path if path.suffix == ".meta" else path.with_name(f"{path.name}.meta"), checkpoint)
    what = "no model file by its name" if path.exists() else "no such file or folder"
    raise SettingsError(
        f"{path}: {what}; a frozen graph (.pb), a checkpoint or its .meta, a SavedModel, .keras or .h5 is"
        " needed"
    )


def _latest(folder: Path) -> Path:
    """The newest meta graph of a folder of checkpoints, after its `checkpoint` file."""
    first = next(
        (
            line
            for line in (folder / "checkpoint").read_text("utf-8", "replace").splitlines()
            if line.startswith("model_checkpoint_path:")
        ),
        "",
    )
    name = Path(first.partition(":")[2].strip().strip('"')).name
    if not name:
        raise SettingsError(f"{folder / 'checkpoint'}: names no checkpoint; give the .meta file itself")
    return folder / f"{name}.meta"


def _meta(meta: Path, checkpoint: str | None) -> Source:
    prefix = checkpoint or str(meta.with_suffix(""))
    if not meta.is_file():
        raise SettingsError(
            f"{meta}: no such file; weights alone make no model: write the inference graph with"
            " tf.compat.v1.train.export_meta_graph and give its .meta with --checkpoint"
        )
    if not Path(f"{prefix}.index").is_file():
        raise SettingsError(
            f"--checkpoint: {prefix}.index is not there; the prefix of the checkpoint's files is needed"
        )
    return Source(Kind.META_GRAPH, meta, prefix)
