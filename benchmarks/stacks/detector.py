"""The model as the comparison stacks call it: images to a request, a reply to events.

They get what a good engineer finds: simplejpeg with scaling while decoding, NumPy, `tensor_content`,
`output_filter`, orjson. They are spared TensorFlow's import (0.5 GB) by the worker's own message stubs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np
import orjson
import simplejpeg
from aiokafka.structs import ConsumerRecord
from numpy.typing import NDArray
from PIL import Image

from benchmarks.stacks.arguments import Arguments
from riverlens_worker._stubs import PredictRequest, PredictResponse, types_pb2

SIDE = 320
_MIN_SCORE = 0.3
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

Pixels = NDArray[np.uint8]


def open_channel(arguments: Arguments) -> grpc.aio.Channel:
    """A channel to all model servers, asked in turn."""
    options = (
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.lb_policy_name", "round_robin"),
    )
    return grpc.aio.insecure_channel(arguments.target, options=options)


def predict_method(channel: grpc.aio.Channel) -> Any:
    """The call Predict: PredictRequest in, PredictResponse out."""
    return channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=PredictRequest.SerializeToString,
        response_deserializer=PredictResponse.FromString,
    )


def decode(image: bytes) -> Pixels:
    """A JPEG as uint8 [320,320,3]: scaled while decoding, the rest without a filter, the cheapest at hand."""
    pixels = simplejpeg.decode_jpeg(image, "RGB", min_height=SIDE, min_width=SIDE, fastdct=True)
    scaled = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return np.asarray(scaled)


def jpeg_request(model: str, images: Sequence[bytes]) -> Any:
    """A request of encoded images."""
    request = _request(model)
    tensor = request.inputs["encoded_image"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=len(images))
    tensor.string_val.extend(images)
    return request


def pixel_request(model: str, images: Sequence[Pixels]) -> Any:
    """A request of decoded images."""
    batch = np.stack(images)
    request = _request(model)
    tensor = request.inputs["input_tensor"]
    tensor.dtype = types_pb2.DT_UINT8
    for size in batch.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = batch.tobytes()
    return request


def _request(model: str) -> Any:
    request = PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    request.output_filter.extend(_OUTPUTS)
    return request


def events(reply: Any, records: Sequence[ConsumerRecord]) -> list[bytes]:
    """A JSON event for each record, from its row of the reply."""
    rows = len(records)
    boxes, scores, classes, counts = (
        np.array(reply.outputs[alias].float_val, np.float32).reshape(rows, -1) for alias in _OUTPUTS
    )
    found = []
    for row, record in enumerate(records):
        sure = np.flatnonzero(scores[row, : int(counts[row, 0])] >= _MIN_SCORE)
        corners = boxes[row].reshape(-1, 4)
        detections = [
            {"class": int(classes[row, i]), "score": float(scores[row, i]), "box": corners[i].tolist()}
            for i in sure
        ]
        body = {
            "camera": (record.key or b"").decode(),
            "captured_at_ms": record.timestamp,
            "source": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "detections": detections,
        }
        found.append(orjson.dumps(body))
    return found
