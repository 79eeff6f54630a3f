"""What the embedded server adds to a run, and what its batching gains. `-s` prints the figures."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from riverlens_serving.batching import Batcher
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.config import LoadOptions, PredictOptions
from riverlens_serving.inference import Inference
from riverlens_serving.loader import Loader
from riverlens_serving.metrics import Metrics
from riverlens_serving.registry import Registry
from riverlens_serving.servable import Servable
from riverlens_serving.services import Services
from riverlens_serving.session import Session
from riverlens_serving.tensors import Array
from tests.contract.client import predict_request, spec
from tests.models import mean_colour_detector, two_dense_layers

pytestmark = pytest.mark.alone

CALLERS = 16
CALLS_EACH = 12
WIDTH = 4096


@dataclass(slots=True)
class _Timed:
    """A session that remembers how long its runs took."""

    inner: Session
    seconds: float = 0.0

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        started = time.perf_counter()
        outputs = self.inner.run(feeds, fetches, timeout_ms)
        self.seconds = time.perf_counter() - started
        return outputs

    def data_type(self, tensor_name: str) -> int:
        return self.inner.data_type(tensor_name)

    def close(self) -> None:
        self.inner.close()


def _services(servable: Servable) -> Services:
    registry = Registry()
    registry.add("model", 1, servable)
    metrics = Metrics()
    return Services(registry, Inference(PredictOptions(), metrics), metrics, lambda *_: None)


def _jpeg(size_bytes: int) -> bytes:
    """Noise as a 640x480 JPEG of about 45 kB, the size of a camera's frame."""
    noise = np.random.default_rng(7).integers(0, 256, (480, 640, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize((160, 120)).resize((640, 480)).save(data, "JPEG", quality=80)
    return data.getvalue().ljust(size_bytes, b"\0")


def test_handling_32_encoded_images_costs_a_millisecond(tmp_path: Path) -> None:
    """From request bytes to reply bytes, less the run: at most 1 ms for 32 JPEGs and 100 boxes each."""
    folder = mean_colour_detector(tmp_path / "1", slots=100)
    servable = Loader(LoadOptions(), None, Metrics()).load(folder)
    timed = _Timed(servable.session)
    services = _services(replace(servable, session=timed))
    images = tf.make_tensor_proto([_jpeg(45_000)] * 32)
    request = predict_request(spec("model", signature="encoded_image_string"), {"inputs": images})
    request_bytes = request.SerializeToString()
    overheads_ms: list[float] = []
    # The best is the cost; the rest is what else this machine was doing.
    while len(overheads_ms) < 20 or (min(overheads_ms) > 1.0 and len(overheads_ms) < 200):
        started = time.perf_counter()
        reply = services.predict(request_bytes, 0)
        overheads_ms.append((time.perf_counter() - started - timed.seconds) * 1000)
    print(  # noqa: T201  # the figure, with -s
        f"\nhandler, 32 images: {len(request_bytes)} bytes in, {len(reply)} bytes out, median"
        f" {statistics.median(overheads_ms):.2f} ms, best {min(overheads_ms):.2f} ms, besides a run of"
        f" {timed.seconds * 1000:.1f} ms"
    )
    timed.close()
    assert min(overheads_ms) <= 1.0


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """Two dense layers of 4096 x 4096: at one row, the time goes into reading 128 MiB of weights."""
    return two_dense_layers(tmp_path / "1", WIDTH)


def _calls_per_second(folder: Path, parameters: BatchingParameters | None) -> float:
    """16 callers, one row a call, each waiting for its answer before the next."""
    batcher = Batcher(parameters) if parameters is not None else None
    servable = Loader(LoadOptions(), batcher, Metrics()).load(folder)
    services = _services(servable)
    row = tf.make_tensor_proto(np.ones((1, WIDTH), np.float32))
    request_bytes = predict_request("model", {"x": row}).SerializeToString()

    def call_repeatedly(_caller: int) -> None:
        for _ in range(CALLS_EACH):
            services.predict(request_bytes, 0)

    services.predict(request_bytes, 0)
    with ThreadPoolExecutor(CALLERS) as callers:
        started = time.perf_counter()
        list(callers.map(call_repeatedly, range(CALLERS)))
        elapsed_s = time.perf_counter() - started
    servable.session.close()
    if batcher is not None:
        batcher.stop()
    return CALLERS * CALLS_EACH / elapsed_s


def test_batching_doubles_the_throughput_of_single_row_callers(dense: Path) -> None:
    """16 callers of one row each get at least twice the answers a second when their rows are merged."""
    parameters = BatchingParameters(max_batch_size=16, batch_timeout_micros=2000, num_batch_threads=1)
    # What else the machine does hardly hits both alike: the best of three counts.
    for _ in range(3):
        alone, merged = _calls_per_second(dense, None), _calls_per_second(dense, parameters)
        figures = f"{alone:.0f}/s alone, {merged:.0f}/s merged, {merged / alone:.1f} x"
        print(f"\n16 single-row callers: {figures}")  # noqa: T201  # the figure, with -s
        if merged >= 2 * alone:
            break
    assert merged >= 2 * alone, figures
