"""Preprocessing and `riverlens_info` put into the graph of a TensorFlow 1 SavedModel, in place.

Only the graph and its signatures change; variables, assets and collections stay as they are, because every
operation keeps its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from riverlens.signature.specs import DEFAULT_SIGNATURE, INFO_SIGNATURE
from riverlens_serving.export.graphs import PREDICT
from riverlens_serving.export.preprocessing import INPUT_ALIAS, Preprocessing
from riverlens_serving.export.signatures import read_saved_model, serving_graph
from riverlens_serving.export.sources import SAVED_MODEL_FILE


def rework(
    folder: Path, name: str, preprocessing: Preprocessing | None, said: Mapping[str, object] | None
) -> None:
    """Rewrite the SavedModel in `folder`; its signature `name` becomes `serving_default`, preprocessed."""
    saved_model = read_saved_model(folder)
    meta_graph = serving_graph(saved_model, folder)
    with tf.Graph().as_default() as graph:
        replaced = {}
        if preprocessing is not None:
            replaced = _put_before(meta_graph, name, preprocessing)
        tf.import_graph_def(meta_graph.graph_def, input_map=replaced, name="")
        if said is not None:
            meta_graph.signature_def[INFO_SIGNATURE].CopyFrom(_info(said))
    meta_graph.graph_def.CopyFrom(graph.as_graph_def())
    # It lists the operations of the old graph, and readers look the new ones up in it.
    meta_graph.meta_info_def.ClearField("stripped_op_list")
    (folder / SAVED_MODEL_FILE).write_bytes(saved_model.SerializeToString())


def _put_before(meta_graph: Any, name: str, preprocessing: Preprocessing) -> dict[str, Any]:
    """Build the preprocessing, point the signatures at it; what the model's input is to be replaced by."""
    info = tf.compat.v1.saved_model.build_tensor_info
    (own,) = meta_graph.signature_def[name].inputs.values()
    old = own.name
    with tf.name_scope("riverlens_input"):
        spec = preprocessing.spec()
        given = tf.compat.v1.placeholder(spec.dtype, spec.shape, spec.name)
        fed = tf.identity(preprocessing.apply(given), "fed")
    served = type(meta_graph.signature_def[name])()
    served.CopyFrom(meta_graph.signature_def[name])
    served.inputs.clear()
    served.inputs[INPUT_ALIAS].CopyFrom(info(given))
    for signature in meta_graph.signature_def.values():
        for tensor in signature.inputs.values():
            if tensor.name == old:
                # Others that share the input are fed behind the preprocessing, as before.
                tensor.name = fed.name
    meta_graph.signature_def[DEFAULT_SIGNATURE].CopyFrom(served)
    return {old: fed}


def _info(said: Mapping[str, object]) -> Any:
    with tf.name_scope(INFO_SIGNATURE):
        key = tf.compat.v1.placeholder(tf.string, [None], "key")
        answer = tf.fill(tf.shape(key), json.dumps(said, sort_keys=True), "json")
    info = tf.compat.v1.saved_model.build_tensor_info
    return tf.compat.v1.saved_model.build_signature_def({"key": info(key)}, {"json": info(answer)}, PREDICT)
