"""Ask a model server for the objects in pictures: one gRPC Predict for all pictures of a size.

    client.py street.jpg shop.jpg --server=127.0.0.1:8500
    client.py *.jpg --server=10.0.0.1:8500,10.0.0.2:8500

Prints `detection_boxes` (ymin, xmin, ymax, xmax as fractions of the picture), `detection_classes` and
`detection_scores`, and writes each picture with boxes, class names and scores. Several servers take turns;
the requests of one that is down go to the others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

TIMEOUT_S = 60.0
# gRPC refuses more than 4 MiB unless told otherwise; a 1080p picture is 6 MB.
CHANNEL_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")

Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """A picture and its pixels, [H,W,3] RGB, as a person sees it."""

    path: Path
    pixels: Pixels


class Found(NamedTuple):
    """One object: box as ymin, xmin, ymax, xmax in 0..1."""

    box: tuple[float, ...]
    class_id: int
    score: float


class AskError(Exception):
    """A model server gave no answer that can be shown; `code` is its gRPC status."""

    def __init__(self, text: str, code: grpc.StatusCode) -> None:
        super().__init__(text)
        self.code = code


def main() -> int:
    """Ask, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--server", default="127.0.0.1:8500", help="HOST:PORT, several with commas")
    parser.add_argument("--model", default="ssd")
    parser.add_argument("--min-score", type=float, default=0.5)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the pictures with boxes")
    given = parser.parse_args()
    try:
        pictures = [Picture(path, read(path)) for path in given.images]
        given.output.mkdir(parents=True, exist_ok=True)
    except (OSError, Image.DecompressionBombError) as error:
        sys.stderr.write(f"client: {error}\n")
        return 2
    servers = [server for word in given.server.split(",") if (server := word.strip())]
    try:
        names = class_names(servers, given.model)
        for server, picture, reply, row in ask(servers, given.model, pictures):
            found = list(objects(reply, row, given.min_score))
            drawn = given.output / f"{picture.path.stem}-detections.png"
            show(picture, found, names, f"{server}, version {reply.model_spec.version.value}")
            draw(picture.pixels, found, names).save(drawn)
            sys.stdout.write(f"written: {drawn}\n")
    except AskError as error:
        sys.stderr.write(f"client: {error}\n")
        return 1
    return 0


def read(path: Path) -> Pixels:
    """The picture upright: cameras note their rotation beside the pixels, models see only pixels."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def stub(server: str) -> Any:
    """A client of one model server."""
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server, CHANNEL_OPTIONS))


def ask(
    servers: Sequence[str], model: str, pictures: Sequence[Picture]
) -> Iterator[tuple[str, Picture, Any, int]]:
    """One request for all pictures of a size, all requests under way at once, a server each in turn.

    Yields the server, the picture, the PredictResponse and the picture's row in it.
    """
    by_size: dict[tuple[int, ...], list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_size[picture.pixels.shape].append(picture)
    calls = []
    for first, group in zip(cycle(range(len(servers))), by_size.values(), strict=False):
        turn = [*servers[first:], *servers[:first]]
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(np.stack([p.pixels for p in group])))
        calls.append((turn, group, request, stub(turn[0]).Predict.future(request, TIMEOUT_S)))
    for turn, group, request, call in calls:
        server, reply = answer(turn, request, call)
        for row, picture in enumerate(group):
            yield server, picture, reply, row


def answer(servers: Sequence[str], request: Any, call: Any) -> tuple[str, Any]:
    """The server that answered and its PredictResponse: the first one's `call`, else the next that is up.

    Raises:
        AskError: none is up, or one refuses.
    """
    for place, server in enumerate(servers):
        try:
            return server, (call if place == 0 else stub(server).Predict.future(request, TIMEOUT_S)).result()
        except grpc.RpcError as error:
            failed = AskError(f"{server}: {error.code().name}: {error.details()}", error.code())
            if error.code() is not grpc.StatusCode.UNAVAILABLE or server == servers[-1]:
                raise failed from error
            sys.stderr.write(f"client: {failed}; asking {servers[place + 1]}\n")
    raise AskError("--server: HOST:PORT is needed", grpc.StatusCode.UNAVAILABLE)


def class_names(servers: Sequence[str], model: str) -> dict[int, str]:
    """Class names as the model tells them in its signature `riverlens_info`; none where it has none."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "riverlens_info"
    request.inputs["key"].CopyFrom(tf.make_tensor_proto([b""]))
    call = stub(servers[0]).Predict.future(request, TIMEOUT_S) if servers else None
    try:
        _, reply = answer(servers, request, call)
    except AskError as error:
        if error.code is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        return {}
    said = json.loads(reply.outputs["json"].string_val[0])
    return {int(number): name for number, name in said.get("labels", {}).items()}


def objects(reply: Any, row: int, min_score: float) -> Iterator[Found]:
    """The objects of one row of a PredictResponse, best first.

    Raises:
        AskError: the model is no detector.
    """
    if not {"detection_boxes", "detection_classes", "detection_scores"} <= reply.outputs.keys():
        names = ", ".join(sorted(reply.outputs))
        raise AskError(f"the model answers {names}: no detector; see --model", grpc.StatusCode.OK)
    boxes, classes, scores = (
        tf.make_ndarray(reply.outputs[f"detection_{part}"])[row] for part in ("boxes", "classes", "scores")
    )
    for box, class_id, score in zip(boxes, classes, scores, strict=True):
        if score >= min_score:
            yield Found(tuple(float(edge) for edge in box), int(class_id), float(score))


def show(picture: Picture, found: Sequence[Found], names: dict[int, str], answered_by: str) -> None:
    """Print what was found."""
    height, width, _ = picture.pixels.shape
    lines = [
        f"{picture.path} ({width}x{height}), answered by {answered_by}: {len(found)} objects",
        f"  {'detection_boxes':<32}{'detection_classes':<24}detection_scores",
    ]
    for box, class_id, score in found:
        edges = "  ".join(f"{edge:.4f}" for edge in box)
        name = f"{class_id} {names.get(class_id, '')}"
        lines.append(f"  {edges:<32}{name:<24}{score:.4f}")
    sys.stdout.write("\n".join(lines) + "\n")


def draw(pixels: Pixels, found: Sequence[Found], names: dict[int, str]) -> Image.Image:
    """The picture with boxes, class names and scores; the best object on top."""
    image = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(image)
    line = max(2, image.width // 300)
    font = ImageFont.load_default(max(12, image.width // 50))
    for (top, left, bottom, right), class_id, score in reversed(found):
        colour = COLOURS[class_id % len(COLOURS)]
        x, y = left * image.width, top * image.height
        canvas.rectangle((x, y, right * image.width, bottom * image.height), outline=colour, width=line)
        text = f"{names.get(class_id, f'class-{class_id}')} {score:.2f}"
        _, _, text_width, text_height = font.getbbox(text)
        # Above the box, or inside it where the picture ends.
        y = y - text_height - line if y > text_height + line else y
        canvas.rectangle((x, y, x + text_width + line, y + text_height + line), fill=colour)
        canvas.text((x, y), text, "white", font)
    return image


if __name__ == "__main__":
    sys.exit(main())
