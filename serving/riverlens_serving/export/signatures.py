"""A SavedModel's file, and its signatures in words that the pure modules understand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from riverlens.errors import SettingsError
from riverlens.signature.specs import TensorSpec
from riverlens_serving.export.sources import SAVED_MODEL_FILE


def read_saved_model(folder: Path) -> Any:
    """The SavedModel message of a version folder.

    Raises:
        SettingsError: it is none.
    """
    path = folder / SAVED_MODEL_FILE
    try:
        return saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise SettingsError(f"{path}: not a SavedModel: {error}") from error


def serving_graph(saved_model: Any, folder: Path) -> Any:
    """The MetaGraphDef that model servers load: tagged `serve` and nothing else.

    Raises:
        SettingsError: there is none.
    """
    for meta_graph in saved_model.meta_graphs:
        if list(meta_graph.meta_info_def.tags) == [tf.saved_model.SERVING]:
            return meta_graph
    tags = "; ".join(", ".join(graph.meta_info_def.tags) for graph in saved_model.meta_graphs)
    raise SettingsError(f"{folder}: no graph is tagged `serve`, which model servers load; tags: {tags}")


def is_version_2(meta_graph: Any) -> bool:
    """Whether TensorFlow 2 wrote it: it holds objects beside the graph."""
    return len(meta_graph.object_graph_def.nodes) > 0


def tensors(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """One side of a SignatureDef by alias."""
    return {alias: _tensor(info) for alias, info in infos.items()}


def _tensor(info: Any) -> TensorSpec:
    dtype = tf.dtypes.as_dtype(info.dtype).name if info.dtype else "invalid"
    if info.tensor_shape.unknown_rank:
        return TensorSpec(dtype, None)
    return TensorSpec(dtype, tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim))
