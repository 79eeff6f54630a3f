"""Each signature run the way a model server runs it, before anybody can load it.

A folder may load in TensorFlow 2 and fail in every model server; only running it through the TF1 session
tells. Where an input's meaning is unknown (a serialised tf.Example, token ids), made-up values may be
refused with INVALID_ARGUMENT: then the graph runs, and that is what had to be shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from riverlens.errors import RiverlensError
from riverlens.signature.specs import TensorSpec
from riverlens_serving.export.facts import image_input
from riverlens_serving.export.signatures import tensors
from riverlens_serving.session import Session, open_session, serving_error
from riverlens_serving.status import Code, ServingError
from riverlens_serving.tensors import Array

_PREDICT = "tensorflow/serving/predict"
_SHOWN = 200
"""Characters of TensorFlow's reason: what follows is its own notes."""
_FREE_PIXELS = 64
"""Height and width of a made-up image where any goes."""


class Loaded(NamedTuple):
    """A version as a model server holds it: its SignatureDefs by name, and the session that runs them."""

    signature_defs: Mapping[str, Any]
    session: Session


class Ran(NamedTuple):
    """How one signature went; `refused` is why it wanted other values than made-up ones, or empty."""

    signature: str
    refused: str


def run_signatures(folder: Path, encoded: frozenset[str]) -> Iterator[Ran]:
    """Load the version and run every signature with one row of made-up values.

    The string inputs of `encoded` are known to take images.

    Raises:
        RiverlensError: it does not load, or a signature fails for another reason than its values.
    """
    loaded = load_for_check(folder)
    try:
        for name, signature in sorted(loaded.signature_defs.items()):
            if not name.startswith("__"):
                yield _run(loaded, name, signature, is_image=name in encoded)
    finally:
        loaded.session.close()


def load_for_check(folder: Path) -> Loaded:
    """The version, loaded as a model server does it. The caller closes its session.

    Raises:
        RiverlensError: it does not load.
    """
    session = tf.compat.v1.Session(graph=tf.Graph())
    try:
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        return Loaded(dict(meta_graph.signature_def), open_session(session))
    except Exception as error:  # a broken folder provokes anything; all of it means "it does not load"
        session.close()
        reason = serving_error(error).message.splitlines()[0]
        raise RiverlensError(f"a model server cannot load this model: {reason}") from error


def run(model: Loaded, signature: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by alias for inputs by alias.

    Raises:
        ServingError: as the model server would answer.
    """
    by_name = {signature.inputs[alias].name: value for alias, value in feeds.items()}
    aliases = sorted(signature.outputs)
    values = model.session.run(by_name, [signature.outputs[alias].name for alias in aliases], 0)
    return dict(zip(aliases, values, strict=True))


def _run(model: Loaded, name: str, signature: Any, *, is_image: bool) -> Ran:
    inputs = tensors(signature.inputs)
    pictures = is_image or (signature.method_name == _PREDICT and not any("example" in a for a in inputs))
    feeds = {
        alias: _made_up(tensor.dtype, tensor.shape, pictures=pictures) for alias, tensor in inputs.items()
    }
    try:
        run(model, signature, feeds)
    except ServingError as error:
        if error.code is Code.INVALID_ARGUMENT and not is_image and not _takes_pixels(signature):
            return Ran(name, error.message.splitlines()[0])
        raise RiverlensError(
            f"signature {name} loads but does not run in a model server: {error.code.name}:"
            f" {error.message.splitlines()[0][:_SHOWN]}{_mending(error)}"
        ) from error
    return Ran(name, "")


def _mending(error: ServingError) -> str:
    if "Could not find variable" not in error.message:
        return ""
    return "; of a Keras 3 model save .keras and export that file, or write it with its own export()"


def _takes_pixels(signature: Any) -> bool:
    inputs = list(tensors(signature.inputs).values())
    return len(inputs) == 1 and image_input(inputs[0]) is not None and inputs[0].shape is not None


def _made_up(dtype: str, shape: tuple[int | None, ...] | None, *, pictures: bool) -> Array:
    sizes = [1] if shape is None else [size or 1 for size in shape]
    image = image_input(TensorSpec(dtype, shape))
    if image is not None and shape is not None:
        height, width = image.height or _FREE_PIXELS, image.width or _FREE_PIXELS
        sizes = image.shape(image.rows or 1, height, width)
    if dtype == "string":
        return np.full(sizes, gray_png() if pictures else b"", object)
    return np.zeros(sizes, tf.dtypes.as_dtype(dtype).as_numpy_dtype)


def encoded_rows(images: list[bytes]) -> Array:
    """Encoded images as a DT_STRING [N]."""
    rows = np.empty(len(images), object)
    rows[:] = images
    return rows


def gray_png() -> bytes:
    """A small image."""
    from PIL import Image  # noqa: PLC0415  # only encoded inputs need it

    buffer = io.BytesIO()
    Image.new("RGB", (_FREE_PIXELS, _FREE_PIXELS), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()
