"""Ask a model server for digits and count how often it errs.

    digits_client.py --num_tests=1000 --server=127.0.0.1:8500 --mnist=/data/mnist

One gRPC Predict of one image each on the signature `predict_images`, several under way at once, as TensorFlow
Serving's tutorial does it; the label is the class with the highest score.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

TIMEOUT_S = 5.0
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Ask for each image; print `Inference error rate: N.N%`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--num_tests", type=int, default=100, help="images to ask for")
    parser.add_argument("--server", default="127.0.0.1:8500", help="HOST:PORT")
    parser.add_argument("--mnist", type=Path, default=HERE / "data", help="folder of the t10k idx files")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--concurrency", type=int, default=4, help="requests under way at once")
    given = parser.parse_args()
    try:
        images = idx(given.mnist, "t10k-images-idx3-ubyte", 16).reshape(-1, 784)
        labels = idx(given.mnist, "t10k-labels-idx1-ubyte", 8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        sys.stderr.write(
            f"digits_client: {given.mnist}: {error}; name the folder of the idx files with --mnist\n"
        )
        return 2
    count = min(given.num_tests, len(labels))
    if count < 1 or len(images) != len(labels):
        sys.stderr.write(
            f"digits_client: --num_tests={given.num_tests} of {len(images)} images: none to ask for\n"
        )
        return 2
    with grpc.insecure_channel(given.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        requests = (request(given.model, image) for image in images[:count])
        try:
            answers = [int(np.argmax(reply)) for reply in ask(stub, requests, given.concurrency)]
        except grpc.RpcError as error:
            sys.stderr.write(f"digits_client: {given.server}: {error.code().name}: {error.details()}\n")
            return 1
    wrong = sum(answer != label for answer, label in zip(answers, labels[:count], strict=True))
    sys.stdout.write(f"Inference error rate: {100 * wrong / count:.1f}%\n")
    return 0


def request(model: str, image: NDArray[np.uint8]) -> Any:
    """A PredictRequest for one image."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = model
    message.model_spec.signature_name = "predict_images"
    pixels = image.astype(np.float32)[None] / 255
    message.inputs["images"].CopyFrom(tf.make_tensor_proto(pixels))
    return message


def ask(stub: Any, requests: Iterator[Any], concurrency: int) -> Iterator[NDArray[np.float32]]:
    """The scores [10] of each request, in order, with at most `concurrency` calls under way."""
    calls: deque[Any] = deque()
    for message in requests:
        calls.append(stub.Predict.future(message, TIMEOUT_S))
        if len(calls) >= concurrency:
            yield np.array(calls.popleft().result().outputs["scores"].float_val, np.float32)
    for call in calls:
        yield np.array(call.result().outputs["scores"].float_val, np.float32)


def idx(folder: Path, name: str, header_bytes: int) -> NDArray[np.uint8]:
    """The values of one idx file, gzipped or not."""
    path = folder / f"{name}.gz"
    raw = gzip.decompress(path.read_bytes()) if path.is_file() else (folder / name).read_bytes()
    return np.frombuffer(raw, np.uint8, offset=header_bytes)


if __name__ == "__main__":
    sys.exit(main())
