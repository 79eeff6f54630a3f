"""Requests that a version is fed before it answers: TensorFlow Serving's warm-up file.

A TFRecord of PredictionLogs. The first calls of a graph are slow, for each batch size anew; replayed while
the version loads, they are nobody's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from riverlens_serving.config import PredictOptions
from riverlens_serving.inference import Inference
from riverlens_serving.metrics import Metrics
from riverlens_serving.servable import Servable
from riverlens_serving.session import serving_error
from riverlens_serving.status import Code, ServingError, invalid

_log = logging.getLogger(__name__)

REQUESTS = Path("assets.extra", "tf_serving_warmup_requests")
"""Where the file lies in a version's folder."""
MAX_RECORDS = 1000
_NO_VERSION = 0
_NO_TIMEOUT = 0


def replay(folder: Path, servable: Servable, iterations: int, metrics: Metrics) -> None:
    """Run every request of the version's file, each `iterations` times; nothing where there is no file.

    Raises:
        ServingError: a request that fails, more than 1000, or a file that is no such TFRecord.
    """
    path = folder / REQUESTS
    if not iterations or not path.is_file():
        return
    inference = Inference(PredictOptions(), metrics)
    started = time.perf_counter()
    count = 0
    for record in _records(path):
        log = _parsed(record, path)
        for _ in range(iterations):
            _run(log, servable, inference)
        count += 1
        if count > MAX_RECORDS:
            raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
    elapsed_us = (time.perf_counter() - started) * 1e6
    metrics.warmup_latency.observe(elapsed_us, str(folder), Code.OK.name)
    metrics.warmup_records.add(str(folder), Code.OK.name, by=count)
    _log.info("warmed up with %d requests of %s in %.2f s", count, path, elapsed_us / 1e6)


def _records(path: Path) -> Iterator[bytes]:
    try:
        yield from tf.compat.v1.io.tf_record_iterator(str(path))
    except tf.errors.DataLossError as error:
        raise ServingError(
            Code.DATA_LOSS, f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error
    except tf.errors.OpError as error:
        raise serving_error(error) from error


def _parsed(record: bytes, path: Path) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        text = record.decode("utf-8", "replace")
        raise invalid(f"Failed to parse warmup record: {text} from {path}") from error


def _run(log: Any, servable: Servable, inference: Inference) -> None:
    kind = log.WhichOneof("log_type")
    match kind:
        case "predict_log":
            inference.predict(servable, _NO_VERSION, log.predict_log.request, _NO_TIMEOUT)
        case "classify_log":
            inference.classify(servable, _NO_VERSION, log.classify_log.request, _NO_TIMEOUT)
        case "regress_log":
            inference.regress(servable, _NO_VERSION, log.regress_log.request, _NO_TIMEOUT)
        case "multi_inference_log":
            inference.multi_inference(servable, _NO_VERSION, log.multi_inference_log.request, _NO_TIMEOUT)
        case None:
            return
        case _:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
