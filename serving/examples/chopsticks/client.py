"""Ask the chopsticks service how well an individual pinches food with chopsticks of a length.

    client.py HOST:PORT INDIVIDUAL LENGTH       client.py 127.0.0.1:8500 10 240.0

LENGTH is in millimetres; the model has seen 180 to 330. Prints `classes_prob`: low, medium, high efficiency.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

MODEL = "chopsticks"
CLASSES = ("low", "medium", "high")
SHORTEST_MM, LONGEST_MM = 180, 330
TIMEOUT_S = 5.0


class OtherModelError(Exception):
    """What is served by this name takes other inputs; says which."""


def main() -> int:
    """Ask once, print the probabilities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server", metavar="HOST:PORT")
    parser.add_argument("individual", type=int)
    parser.add_argument("length", type=float, help="in mm")
    given = parser.parse_args()
    if not SHORTEST_MM <= given.length <= LONGEST_MM:
        sys.stderr.write(f"client: {given.length} mm is outside {SHORTEST_MM} to {LONGEST_MM} mm: a guess\n")
    with grpc.insecure_channel(given.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            probabilities = ask(stub, given.individual, given.length)
        except grpc.RpcError as error:
            sys.stderr.write(f"client: {given.server}: {error.code().name}: {error.details()}\n")
            return 1
        except OtherModelError as error:
            sys.stderr.write(
                f"client: {given.server}: its model {MODEL!r} takes {error}, not chopstick_length: start it"
                " with make run_server\n"
            )
            return 1
    named = ", ".join(f"{name} {p:.4f}" for name, p in zip(CLASSES, probabilities, strict=True))
    sys.stdout.write(f"classes_prob: {named}\n")
    return 0


def ask(stub: Any, individual: int, length: float) -> Any:
    """classes_prob, float [3]. Sends what the served model takes: it may know lengths only."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    columns = {
        "individual": tf.make_tensor_proto([[individual]], tf.int64),
        "chopstick_length": tf.make_tensor_proto([[length]], tf.float32),
    }
    names = model_inputs(stub)
    if not names or not set(names) <= columns.keys():
        raise OtherModelError(", ".join(names) or "nothing")
    for name in names:
        request.inputs[name].CopyFrom(columns[name])
    reply = stub.Predict(request, TIMEOUT_S)
    return np.array(reply.outputs["classes_prob"].float_val, np.float32)


def model_inputs(stub: Any) -> list[str]:
    """Names of the inputs of `serving_default`."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    signatures = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request, TIMEOUT_S).metadata["signature_def"].Unpack(signatures)
    return list(signatures.signature_def["serving_default"].inputs)


if __name__ == "__main__":
    sys.exit(main())
