"""Whether a model answers N rows in one call as it answers them one by one: whether it can be batched.

A model may declare a free batch dimension and still mix its rows (normalising over the batch, a reshape that
drops them, an output without rows). A server that merges requests then hands out wrong answers silently.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from riverlens.signature.specs import TensorSpec
from riverlens_serving.export.check import Loaded, encoded_rows, load_for_check, run
from riverlens_serving.export.facts import DETECTION_OUTPUTS, image_input
from riverlens_serving.export.signatures import tensors
from riverlens_serving.status import ServingError
from riverlens_serving.tensors import Array

ROWS = 3
TOLERANCE = 1e-3
"""Largest difference that is rounding: kernels sum in another order for other batch sizes."""

_EXAMPLE_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")
_FREE_PIXELS = 64
_FREE_SIZE = 4
_SURE_SCORE = 0.3
"""Boxes below it come in any order where scores nearly tie."""


def compare_rows(folder: Path) -> Iterator[str]:
    """A line for each signature: whether ROWS rows of made-up values give what single calls give.

    Raises:
        RiverlensError: the model does not load.
    """
    model = load_for_check(folder)
    try:
        for name, signature in sorted(model.signature_defs.items()):
            if not name.startswith("__"):
                yield f"{name}: {_verdict(model, signature)}"
    finally:
        model.session.close()


def _verdict(model: Loaded, signature: Any) -> str:
    inputs = tensors(signature.inputs)
    fixed = [alias for alias, tensor in inputs.items() if tensor.shape and tensor.shape[0] is not None]
    if not inputs or any(tensor.shape == () for tensor in inputs.values()):
        return "no rows: an input has no batch dimension"
    if fixed:
        sizes = ", ".join(f"{alias} {inputs[alias].text()}" for alias in sorted(fixed))
        return f"a fixed number of rows a call: {sizes}"
    examples = signature.method_name in _EXAMPLE_METHODS or any("example" in alias for alias in inputs)
    feeds = {alias: _made_up(tensor, examples=examples) for alias, tensor in inputs.items()}
    try:
        singles = [
            run(model, signature, {alias: values[row : row + 1] for alias, values in feeds.items()})
            for row in range(ROWS)
        ]
    except ServingError as error:
        return f"not tried: it wants other values than made-up ones: {error.message.splitlines()[0]}"
    try:
        together = run(model, signature, feeds)
    except ServingError as error:
        return f"cannot be batched: {ROWS} rows are refused: {error.message.splitlines()[0]}"
    return _compared(together, singles)


def _compared(together: Mapping[str, Array], singles: Sequence[Mapping[str, Array]]) -> str:
    largest = 0.0
    sure = _sure(singles)
    for alias, values in sorted(together.items()):
        if values.ndim == 0 or len(values) != ROWS or any(len(single[alias]) != 1 for single in singles):
            return f"cannot be batched: the output {alias} has no row for each row of input"
        alone = np.concatenate([single[alias] for single in singles])
        if values.shape != alone.shape:
            return f"cannot be batched: {alias} is {list(values.shape)} together, {list(alone.shape)} alone"
        difference = _difference(values, alone, sure if alias in DETECTION_OUTPUTS else None)
        if difference > TOLERANCE:
            return f"cannot be batched: rows change each other's {alias}, by up to {difference:.2g}"
        largest = max(largest, difference)
    return f"{ROWS} rows in a call answer as {ROWS} single calls (largest difference {largest:.1g})"


def _sure(singles: Sequence[Mapping[str, Array]]) -> Array | None:
    """Which detections count, [N, detections]; None where the model is no detector."""
    if not singles[0].keys() >= DETECTION_OUTPUTS:
        return None
    return np.concatenate([single["detection_scores"] for single in singles]) >= _SURE_SCORE


def _difference(values: Array, alone: Array, counted: Array | None) -> float:
    """The largest, relative to the values where those exceed 1; 0 or 1 for anything but numbers."""
    if values.dtype.kind not in "fiu":
        return float(not np.array_equal(values, alone))
    if counted is not None and counted.shape == values.shape[:2]:
        values, alone = values[counted], alone[counted]
    if not values.size:
        return 0.0
    apart = np.abs(values.astype(np.float64) - alone.astype(np.float64))
    return float(np.nanmax(apart / np.maximum(1.0, np.abs(alone)), initial=0.0))


def _made_up(tensor: TensorSpec, *, examples: bool) -> Array:
    """ROWS unlike rows. Images are slopes with a bright patch, so that a network has something to see."""
    if tensor.dtype == "string":
        encoded = [_png(row) for row in _pictures(_FREE_PIXELS, _FREE_PIXELS)]
        return encoded_rows([b""] * ROWS if examples else encoded)
    kind = np.dtype(tf.dtypes.as_dtype(tensor.dtype).as_numpy_dtype)
    image = image_input(tensor)
    if image is not None and tensor.shape is not None:
        pictures = _pictures(image.height or _FREE_PIXELS, image.width or _FREE_PIXELS)
        scaled: Array = pictures if kind.kind in "iu" else pictures / 255
        channels = scaled[..., :1] if image.gray else scaled
        return (channels.transpose(0, 3, 1, 2) if image.planar else channels).astype(kind)
    shape = [ROWS, *(size or _FREE_SIZE for size in (tensor.shape or (None,))[1:])]
    values = np.random.default_rng(0).uniform(0, 2, shape)
    return values.astype(kind)


def _pictures(height: int, width: int) -> Array:
    """uint8 [ROWS,H,W,3]."""
    rows, columns = np.mgrid[0:height, 0:width]
    slopes = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
    pictures = np.stack([np.roll(slopes, number, axis=-1) for number in range(ROWS)])
    for number in range(ROWS):
        top, left = height * (number + 1) // 6, width * (number + 1) // 6
        pictures[number, top : top + height // 3, left : left + width // 4] = 255 - 40 * number
    return pictures.astype(np.uint8)


def _png(pixels: Array) -> bytes:
    from PIL import Image  # noqa: PLC0415  # only encoded inputs need it

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
