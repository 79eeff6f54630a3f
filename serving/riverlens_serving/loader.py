"""From a version's folder to a servable: the SavedModel in a graph and v1 session of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from riverlens_serving.batching import Batcher, BatchingSession
from riverlens_serving.batching_parameters import check_for_load
from riverlens_serving.config import LoadOptions
from riverlens_serving.session import Session, open_session, serving_error
from riverlens_serving.status import Code, ServingError

_log = logging.getLogger(__name__)

_PROTO_NAMES = ("saved_model.pb", "saved_model.pbtxt")


@dataclass(frozen=True, slots=True)
class Servable:
    """One loaded version: what answers requests."""

    signature_defs: Mapping[str, Any]
    """Every SignatureDef of the MetaGraphDef by key; of TF2 exports, `__saved_model_init_op` too."""
    session: Session


def load(folder: Path, options: LoadOptions, batcher: Batcher | None) -> Servable:
    """Load one version, its runs merged by `batcher` if there is one. Blocks for as long as TensorFlow takes.

    Raises:
        ServingError: whatever stands in the way, with TensorFlow Serving's text where it has one.
    """
    if not any((folder / name).is_file() for name in _PROTO_NAMES):
        raise ServingError(
            Code.NOT_FOUND,
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
            f" `saved_model.pb`)\nSpecified file path: {folder}",
        )
    if batcher is not None:
        check_for_load(batcher.parameters)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=_session_config(options))
    try:
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, list(options.tags), str(folder))
        opened = open_session(session)
        batched = BatchingSession(opened, batcher) if batcher is not None else opened
        return Servable(dict(meta_graph.signature_def), batched)
    except Exception as error:  # a broken folder provokes anything; all of it means "this version failed"
        session.close()
        _log.debug("loading %s failed", folder, exc_info=True)
        raise serving_error(error) from error


def _session_config(options: LoadOptions) -> Any:
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads,
        allow_soft_placement=True,
    )
    if options.gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    else:
        config.gpu_options.allow_growth = True
    return config
