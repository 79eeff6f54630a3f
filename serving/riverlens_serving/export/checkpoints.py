"""A TensorFlow 1 checkpoint and its inference meta graph become a SavedModel; a training graph is refused.

Served, a training graph would drop values at random, normalise by the batch at hand, or wait for its own
input pipeline: wrong answers rather than none. Its marks are looked for before anything is restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from riverlens.errors import SettingsError
from riverlens_serving.export.graphs import find_signature, first_line, save
from riverlens_serving.export.plan import Tensors

_OPTIMISER = ("Apply", "ResourceApply", "SparseApply", "ResourceSparseApply")
_PIPELINE = ("IteratorGetNext", "QueueDequeue", "ReaderRead", "DatasetToSingleElement")


def save_checkpoint(meta: Path, prefix: str, tensors: Tensors, folder: Path) -> None:
    """Restore `prefix` into the graph of `meta` and write it as a SavedModel into `folder`.

    Raises:
        SettingsError: no meta graph, a training graph, or a checkpoint of another model.
    """
    proto = _read(meta)
    mark = next(training_marks(_nodes(proto.graph_def)), None)
    if mark is not None:
        raise SettingsError(
            f"{meta}: a training graph: {mark}; an inference graph is needed: build the model for inference"
            " (is_training=False, a placeholder as input), write it with"
            f" tf.compat.v1.train.export_meta_graph and export that file with --checkpoint {prefix}"
        )
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        try:
            saver = tf.compat.v1.train.import_meta_graph(proto, clear_devices=True)
            _restore(saver, session, prefix)
        except (ValueError, KeyError, tf.errors.OpError) as error:
            raise SettingsError(
                f"{meta}: the checkpoint {prefix} does not fit: {first_line(error)}"
            ) from error
        ignored = [proto.saver_def.filename_tensor_name.rpartition("/")[0] + "/"]
        signature = find_signature(graph, tensors, [name for name in ignored if name != "/"])
        tables = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
        save(session, signature, folder, main_op=tf.group(*tables) if tables else None)


def _restore(saver: Any, session: Any, prefix: str) -> None:
    if saver is None:
        variables = tf.compat.v1.global_variables()
        if not variables:
            return
        saver = tf.compat.v1.train.Saver(variables)
    saver.restore(session, prefix)


def _read(meta: Path) -> Any:
    try:
        proto = tf.compat.v1.MetaGraphDef.FromString(meta.read_bytes())
    except DecodeError as error:
        raise SettingsError(f"{meta}: not a meta graph: {error}") from error
    if not proto.graph_def.node:
        raise SettingsError(f"{meta}: holds no graph")
    return proto


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def training_marks(nodes: Iterable[Any]) -> Iterator[str]:
    """What shows that a graph was built for training, in words; nothing for an inference graph."""
    for node in nodes:
        if node.op.startswith(_OPTIMISER):
            yield f"{node.name} ({node.op}) changes its weights"
        elif node.op.startswith("FusedBatchNorm") and _normalises_by_batch(node):
            yield f"{node.name} normalises by the batch at hand"
        elif "dropout" in node.name.lower() and "Random" in node.op:
            yield f"{node.name} drops values at random"
        elif node.op.startswith(_PIPELINE):
            yield f"{node.name} ({node.op}) reads its own input"


def _normalises_by_batch(node: Any) -> bool:
    # True is the default, and files without default values leave it out.
    return "is_training" not in node.attr or bool(node.attr["is_training"].b)
