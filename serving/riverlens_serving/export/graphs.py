"""A frozen graph becomes a SavedModel: its inputs and outputs found, constants kept as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from riverlens.errors import SettingsError
from riverlens.signature.specs import DEFAULT_SIGNATURE
from riverlens_serving.export.plan import Tensors

PREDICT = "tensorflow/serving/predict"

_DETECTOR_INPUTS = ("image_tensor", "encoded_image_string_tensor", "tf_example")
"""The Object Detection API's placeholders, whose alias is `inputs`."""
_DETECTOR_OUTPUTS = (
    "detection_boxes",
    "detection_classes",
    "detection_scores",
    "num_detections",
    "detection_masks",
    "detection_keypoints",
    "detection_multiclass_scores",
    "raw_detection_boxes",
    "raw_detection_scores",
)
_FEWEST_DETECTOR_OUTPUTS = 3
_NO_OUTPUT = frozenset({"Const", "Placeholder", "PlaceholderWithDefault", "NoOp", "VarHandleOp"})
_MOST_GUESSED = 8


def save_frozen(path: Path, tensors: Tensors, folder: Path) -> None:
    """Write the frozen graph in `path` as a SavedModel into `folder`, which must not exist.

    Raises:
        SettingsError: no frozen graph, or its tensors cannot be told.
    """
    with tf.Graph().as_default() as graph:
        try:
            tf.import_graph_def(_read(path), name="")
        except (ValueError, KeyError, tf.errors.OpError) as error:
            raise SettingsError(f"{path}: TensorFlow cannot read this graph: {first_line(error)}") from error
        stored = next((op for op in graph.get_operations() if op.type in {"VarHandleOp", "VariableV2"}), None)
        if stored is not None:
            raise SettingsError(
                f"{path}: not frozen: {stored.name} is a variable without value; give the checkpoint's .meta"
            )
        signature = find_signature(graph, tensors, ignored=())
    keep = [
        info.name.split(":")[0] for part in (signature.inputs, signature.outputs) for info in part.values()
    ]
    slim = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), sorted(set(keep)))
    with tf.Graph().as_default() as served, tf.compat.v1.Session(graph=served) as session:
        tf.import_graph_def(slim, name="")
        save(session, signature, folder)


def save(session: Any, signature: Any, folder: Path, main_op: Any = None) -> None:
    """Write the session's graph and variables with one signature, `serving_default`."""
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(
        session,
        [tf.saved_model.SERVING],
        {DEFAULT_SIGNATURE: signature},
        main_op=main_op,
        clear_devices=True,
        strip_default_attrs=True,
    )
    builder.save()


def _read(path: Path) -> Any:
    raw = path.read_bytes()
    try:
        graph_def = tf.compat.v1.GraphDef.FromString(raw)
    except DecodeError as error:
        raise SettingsError(f"{path}: not a TensorFlow graph: {error}") from error
    if not graph_def.node:
        raise SettingsError(f"{path}: holds no operations; a SavedModel's own file is called saved_model.pb")
    return graph_def


def find_signature(graph: Any, tensors: Tensors, ignored: Sequence[str]) -> Any:
    """A predict SignatureDef of the tensors named, else of those that the graph itself shows.

    `graph` is the default graph; operations whose names begin with one of `ignored` are no outputs.

    Raises:
        SettingsError: a tensor is not in the graph, or it takes a flag to say which ones are meant.
    """
    operations = graph.get_operations()
    inputs = [(alias, _tensor(graph, name, "--inputs")) for alias, name in tensors.inputs]
    outputs = [(alias, _tensor(graph, name, "--outputs")) for alias, name in tensors.outputs]
    inputs = inputs or _guess_inputs(operations)
    outputs = outputs or _guess_outputs(operations, ignored)
    info = tf.compat.v1.saved_model.build_tensor_info
    return tf.compat.v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs},
        {alias: info(tensor) for alias, tensor in outputs},
        PREDICT,
    )


def _tensor(graph: Any, name: str, flag: str) -> Any:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
        raise SettingsError(f"{flag}: the graph has no tensor {name}") from None


def _guess_inputs(operations: Iterable[Any]) -> list[tuple[str, Any]]:
    placeholders = [op for op in operations if op.type == "Placeholder" and op.outputs[0].consumers()]
    known = [op for op in placeholders if op.name in _DETECTOR_INPUTS]
    if len(known) == 1:
        return [("inputs", known[0].outputs[0])]
    if len(placeholders) == 1:
        return [(_alias(placeholders[0]), placeholders[0].outputs[0])]
    listed = ", ".join(op.outputs[0].name for op in placeholders) or "none"
    raise SettingsError(f"--inputs: which tensors are fed? The graph's placeholders: {listed}")


def _guess_outputs(operations: Sequence[Any], ignored: Sequence[str]) -> list[tuple[str, Any]]:
    named = {op.name: op for op in operations}
    known = [name for name in _DETECTOR_OUTPUTS if name in named]
    if len(known) >= _FEWEST_DETECTOR_OUTPUTS:
        return [(name, named[name].outputs[0]) for name in known]
    leaves = [op for op in operations if _is_leaf(op) and not op.name.startswith(tuple(ignored))]
    if 0 < len(leaves) <= _MOST_GUESSED and len({_alias(op) for op in leaves}) == len(leaves):
        return [(_alias(op), op.outputs[0]) for op in leaves]
    listed = ", ".join(op.outputs[0].name for op in leaves[:_MOST_GUESSED]) or "none"
    more = f" and {len(leaves) - _MOST_GUESSED} more" if len(leaves) > _MOST_GUESSED else ""
    raise SettingsError(f"--outputs: which tensors are the answer? Nobody in the graph reads: {listed}{more}")


def _is_leaf(op: Any) -> bool:
    return (
        op.type not in _NO_OUTPUT
        and not op.type.startswith(("Assign", "Save", "Restore", "Merge"))
        and len(op.outputs) > 0
        and op.outputs[0].dtype not in {tf.resource, tf.variant}
        and not any(output.consumers() for output in op.outputs)
    )


def _alias(op: Any) -> str:
    return str(op.name).rpartition("/")[2]


def first_line(error: Exception) -> str:
    """TensorFlow's reason without its stack of notes."""
    text = getattr(error, "message", None) or str(error)
    return str(text).strip().splitlines()[0] if str(text).strip() else type(error).__name__
