"""Warm-up requests from real images: `assets.extra/tf_serving_warmup_requests`, which model servers replay.

The first call of each batch size is slow (a COCO detector: 959 ms, then 453 for 32 rows), so there is one
request for each size that will be used. A TFRecord file of PredictionLog messages; TensorFlow Serving reads
at most 1000.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError
from tensorflow_serving.apis import prediction_log_pb2

from riverlens.errors import RiverlensError, SettingsError
from riverlens.signature.specs import TensorSpec, tensors_text
from riverlens_serving.export.check import encoded_rows, load_for_check, run
from riverlens_serving.export.facts import image_input
from riverlens_serving.export.plan import Pixels, Warmup
from riverlens_serving.export.signatures import tensors
from riverlens_serving.status import ServingError
from riverlens_serving.tensors import Array

FILE = Path("assets.extra") / "tf_serving_warmup_requests"

_FORMATS = frozenset({"JPEG", "PNG", "GIF", "BMP"})


class Written(NamedTuple):
    """What the file holds."""

    requests: int
    size_bytes: int


def write_warmup(folder: Path, model: str, signature: str, warmup: Warmup, pixels: Pixels) -> Written:
    """Write the requests into the version `folder` and run each of them.

    `model` is the name it will be served by; `pixels` tells how the served signature takes its pixels.

    Raises:
        SettingsError: an image cannot be read, or the signature takes no images.
        RiverlensError: the model refuses a request.
    """
    servable = load_for_check(folder)
    definition = servable.signature_defs[signature]
    try:
        alias, rows_of = _reader(signature, tensors(definition.inputs), pixels, warmup.images)
        (folder / FILE).parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
            sizes = _sizes(tensors(definition.inputs)[alias], warmup.rows)
            for count in sizes:
                rows = rows_of(count)
                run(servable, definition, {alias: rows})
                writer.write(_log(model, signature, alias, rows).SerializeToString())
    except ServingError as error:
        raise RiverlensError(f"--warmup: the model refuses these images: {error.message}") from error
    finally:
        servable.session.close()
    return Written(len(sizes), (folder / FILE).stat().st_size)


def _sizes(tensor: TensorSpec, rows: Sequence[int]) -> Sequence[int]:
    fixed = tensor.shape[0] if tensor.shape else None
    return rows if fixed is None else (fixed,)


def _log(model: str, signature: str, alias: str, rows: Array) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(rows))
    return log


Rows = Callable[[int], Array]


def _reader(
    signature: str, inputs: dict[str, TensorSpec], pixels: Pixels, images: Sequence[Path]
) -> tuple[str, Rows]:
    """The input's alias, and what makes a batch of so many rows of the images, in turn."""
    if len(inputs) == 1:
        ((alias, tensor),) = inputs.items()
        if tensor.dtype == "string" and "example" not in alias:
            encoded = [_encoded(path) for path in images]
            return alias, lambda count: encoded_rows(list(islice(cycle(encoded), count)))
        image = image_input(tensor)
        if image is not None:
            size = image.size or pixels.size
            if not image.whole and pixels.value_range is None:
                raise SettingsError(f"--warmup: the signature takes {tensor.text()}; add --range, as trained")
            arrays = list(_arrays(images, size, tensor.dtype, pixels, "L" if image.gray else "RGB"))
            planar = [array.transpose(2, 0, 1) for array in arrays] if image.planar else arrays
            return alias, lambda count: np.stack(list(islice(cycle(planar), count)))
    raise SettingsError(
        f"--warmup: signature {signature} takes {tensors_text(inputs)}, which is not an image"
    )


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SettingsError(f"--warmup: {path} is not a readable image: {error}") from error


def _encoded(path: Path) -> bytes:
    """The file as it is where TensorFlow reads its format, else as JPEG."""
    image = _open(path)
    if image.format in _FORMATS:
        return path.read_bytes()
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _arrays(
    images: Sequence[Path], size: tuple[int, int] | None, dtype: str, pixels: Pixels, mode: str
) -> Iterator[Array]:
    """[H,W,3] each, or [H,W,1] of mode L, all of one size: `size` (height, width), else the first image's."""
    for path in images:
        image = ImageOps.exif_transpose(_open(path)).convert(mode)
        size = size or (image.height, image.width)
        array = np.atleast_3d(np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)))
        yield _as_trained(array, pixels).astype(tf.dtypes.as_dtype(dtype).as_numpy_dtype)


def _as_trained(array: Array, pixels: Pixels) -> Array:
    ordered = array[..., ::-1] if pixels.colour == "bgr" else array
    low, high = pixels.value_range or (0.0, 255.0)
    values = ordered.astype(np.float32) / 255.0 * (high - low) + low
    if pixels.mean:
        values = values - np.asarray(pixels.mean, np.float32)
    return values / np.asarray(pixels.std, np.float32) if pixels.std else values
