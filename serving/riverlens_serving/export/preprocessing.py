"""What happens to an image between the served signature and the model, as operations in the graph.

Decoding and resizing are pinned to the CPU: inside `map_fn` on a GPU they fail, or copy each image over and
back (tensorflow/serving#1626).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from riverlens.errors import SettingsError
from riverlens_serving.export.facts import ImageInput
from riverlens_serving.export.plan import Front, Pixels

INPUT_ALIAS = "inputs"
_FULL = 255.0


class Preprocessing(NamedTuple):
    """From `front` to the model's own `image` input.

    Attributes:
        size: height and width in pixels to resize to; None: images keep theirs.
    """

    front: Front
    image: ImageInput
    size: tuple[int, int] | None
    value_range: tuple[float, float]
    reverse: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def spec(self) -> Any:
        """The served input's TensorSpec."""
        if self.front is Front.ENCODED:
            return tf.TensorSpec([self.image.rows], tf.string, INPUT_ALIAS)
        dtype = tf.uint8 if self.front is Front.UINT8 else tf.float32
        return tf.TensorSpec([self.image.rows, None, None, 3], dtype, INPUT_ALIAS)

    def apply(self, given: Any) -> Any:
        """The tensor that the model is fed, of `given` as in `spec`."""
        with tf.device("/CPU:0"):
            pixels = self._decoded(given) if self.front is Front.ENCODED else self._resized(given)
        low, high = self.value_range
        scale = (high - low) / (1.0 if self.front is Front.FLOAT32 else _FULL)
        if self.image.gray:
            pixels = tf.image.rgb_to_grayscale(pixels)
        elif self.reverse:
            pixels = tf.reverse(pixels, [-1])
        if (scale, low) != (1.0, 0.0):
            pixels = pixels * scale + low
        if self.mean:
            pixels = pixels - tf.constant(self.mean)
        if self.std:
            pixels = pixels / tf.constant(self.std)
        if self.image.planar:
            pixels = tf.transpose(pixels, [0, 3, 1, 2])
        dtype = tf.dtypes.as_dtype(self.image.dtype)
        return tf.saturate_cast(tf.round(pixels) if dtype.is_integer else pixels, dtype)

    def _decoded(self, encoded: Any) -> Any:
        def one(image: Any) -> Any:
            pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
            pixels.set_shape([None, None, 3])
            return self._resized(pixels[None])[0]

        each = tf.TensorSpec([*(self.size or (None, None)), 3], tf.float32)
        return tf.map_fn(one, encoded, fn_output_signature=each)

    def _resized(self, pixels: Any) -> Any:
        values = tf.cast(pixels, tf.float32)
        return values if self.size is None else tf.image.resize(values, self.size)


def preprocessing(front: Front, image: ImageInput, pixels: Pixels) -> Preprocessing:
    """What turns `front` into what the model takes.

    Raises:
        SettingsError: what the model's file does not tell was not given: the range of float pixels.
    """
    value_range = pixels.value_range
    if value_range is None:
        if not image.whole:
            raise SettingsError(
                f"--range: the model takes {image.dtype} pixels, and its file does not tell their range;"
                " add --range 0..1, -1..1, 0..255 or -128..127, as it was trained"
            )
        value_range = (0.0, _FULL)
    if image.gray and (pixels.mean or pixels.std):
        raise SettingsError("--mean, --std: the model takes one channel; --range alone says what it takes")
    if pixels.size is not None and image.size not in {None, pixels.size}:
        raise SettingsError(
            f"--size: {_text(pixels.size)} was given, but the model takes {_text(image.size or (0, 0))}"
        )
    return Preprocessing(
        front=front,
        image=image,
        size=pixels.size or image.size,
        value_range=value_range,
        reverse=pixels.colour == "bgr",
        mean=pixels.mean,
        std=pixels.std,
    )


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
