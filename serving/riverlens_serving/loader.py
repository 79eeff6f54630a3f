"""From a version's folder to a servable: the SavedModel in a graph and v1 session of its own, warmed up."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from riverlens_serving import warmup
from riverlens_serving.batching import Batcher, BatchingSession
from riverlens_serving.batching_parameters import check_for_load
from riverlens_serving.config import LoadOptions
from riverlens_serving.metrics import Metrics
from riverlens_serving.servable import Servable
from riverlens_serving.session import CountedSession, open_session, serving_error
from riverlens_serving.status import Code, ServingError
from riverlens_serving.text_proto import read_session_config

_log = logging.getLogger(__name__)

_PROTO_NAMES = ("saved_model.pb", "saved_model.pbtxt")


class Loader:
    """Loads versions: one set of options, one pool of batch threads, for all models."""

    def __init__(self, options: LoadOptions, batcher: Batcher | None, metrics: Metrics) -> None:
        self._options = options
        self._batcher = batcher
        self._metrics = metrics
        self._config = _session_config(options)

    def load(self, folder: Path) -> Servable:
        """Load one version, its runs merged by the batcher if there is one. Blocks for as long as it takes.

        Raises:
            ServingError: whatever stands in the way, with TensorFlow Serving's text where it has one.
        """
        if not any((folder / name).is_file() for name in _PROTO_NAMES):
            raise ServingError(
                Code.NOT_FOUND,
                "Specified file path does not appear to contain a SavedModel bundle (should have a file"
                f" called `saved_model.pb`)\nSpecified file path: {folder}",
            )
        if self._batcher is not None:
            check_for_load(self._batcher.parameters)
        started = time.perf_counter()
        try:
            servable = self._open(folder)
        except ServingError:
            self._metrics.load_attempt_count.add(str(folder), "fail")
            raise
        self._metrics.load_attempt_count.add(str(folder), "success")
        self._metrics.load_latency.add(str(folder), by=int((time.perf_counter() - started) * 1e6))
        try:
            warmup.replay(folder, servable, self._options.warmup_iterations, self._metrics)
        except ServingError:
            servable.session.close()
            raise
        return servable

    def _open(self, folder: Path) -> Servable:
        session = tf.compat.v1.Session(graph=tf.Graph(), config=self._config)
        try:
            with session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(session, list(self._options.tags), str(folder))
            opened = CountedSession(open_session(session), self._metrics)
        except Exception as error:  # a broken folder provokes anything; all of it means "this version failed"
            session.close()
            _log.debug("loading %s failed", folder, exc_info=True)
            raise serving_error(error) from error
        batched = BatchingSession(opened, self._batcher) if self._batcher is not None else opened
        return Servable(dict(meta_graph.signature_def), batched)


def _session_config(options: LoadOptions) -> Any:
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    if options.session_config is not None:
        config.MergeFrom(read_session_config(options.session_config))
    if options.intra_op_threads:
        config.intra_op_parallelism_threads = options.intra_op_threads
    if options.inter_op_threads:
        config.inter_op_parallelism_threads = options.inter_op_threads
    if options.gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    else:
        config.gpu_options.allow_growth = True
    return config
