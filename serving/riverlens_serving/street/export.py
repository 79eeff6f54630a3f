"""The SavedModel that is served: plain variables, three signatures, the resize inside.

`serving_default`: `inputs` uint8 [N,H,W,3]. `encoded_image_string`: `inputs` DT_STRING [N], JPEG or PNG,
decoded on the CPU. Both answer with the names and shapes of the TensorFlow Object Detection API and a
batch dimension. `riverlens_info`: `key` DT_STRING [N] -> `json` DT_STRING [N], what metadata cannot say.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from riverlens.scenes.truth import LABELS
from riverlens_serving.street.boxes import peaks, resize
from riverlens_serving.street.network import INPUT_SIZE, plain_forward

INFO: Mapping[str, object] = {
    "kind": "detection",
    "labels": {str(number): label for number, label in enumerate(LABELS, 1)},
    "input_size": [INPUT_SIZE, INPUT_SIZE],
    "colour": "rgb",
    "range": [0, 255],
    "resize": "stretch",
    "boxes": "normalised_yxyx",
}
"""The JSON of `riverlens_info`: class names by id, and how pixels go in and boxes come out."""


class StreetModel(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Folded weights and the functions of the signatures."""

    def __init__(self, plain: Mapping[str, np.ndarray]) -> None:
        super().__init__(name="street")
        self.weights = {name: tf.Variable(value, trainable=False) for name, value in plain.items()}

    def _answer(self, small: Any) -> dict[str, Any]:
        boxes, classes, scores = peaks(*plain_forward(self.weights, small))
        count = tf.fill([tf.shape(boxes)[0]], tf.constant(boxes.shape[1], tf.float32))
        return {
            "detection_boxes": tf.identity(boxes, "detection_boxes"),
            "detection_classes": tf.identity(classes, "detection_classes"),
            "detection_scores": tf.identity(scores, "detection_scores"),
            "num_detections": tf.identity(count, "num_detections"),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="inputs")])  # type: ignore[untyped-decorator]  # no types
    def detect(self, inputs: Any) -> dict[str, Any]:
        """Pixels in."""
        return self._answer(resize(inputs))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])  # type: ignore[untyped-decorator]  # no types
    def detect_encoded(self, inputs: Any) -> dict[str, Any]:
        """JPEG or PNG in."""
        with tf.device("/cpu:0"):
            small = tf.map_fn(_decode, inputs, fn_output_signature=tf.TensorSpec([256, 256, 3], tf.float32))
        return self._answer(small)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="key")])  # type: ignore[untyped-decorator]  # no types
    def info(self, key: Any) -> dict[str, Any]:
        """The same JSON for every key; a batch dimension, because a batching server refuses calls without."""
        return {"json": tf.fill(tf.shape(key), json.dumps(INFO, sort_keys=True))}


def _decode(encoded: Any) -> Any:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return resize(image[None])[0]


def export(plain: Mapping[str, np.ndarray], folder: Path) -> Path:
    """Write the SavedModel beside `folder`, run every signature as a model server would, rename.

    Args:
        plain: folded weights.
        folder: the version folder, e.g. serving/models/street/1; what is there is replaced.
    """
    model = StreetModel(plain)
    signatures = {
        "serving_default": model.detect,
        "encoded_image_string": model.detect_encoded,
        "riverlens_info": model.info,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
    aside = beside.with_name(f"{beside.name}-old")
    try:
        tf.saved_model.save(model, str(beside), signatures=signatures)
        (beside / "fingerprint.pb").unlink(missing_ok=True)
        shutil.rmtree(beside / "assets", ignore_errors=True)
        check(beside)
        beside.chmod(0o755)
        if folder.exists():
            folder.rename(aside)
        beside.rename(folder)
    finally:
        for left in (beside, aside):
            shutil.rmtree(left, ignore_errors=True)
    return folder


def check(folder: Path) -> None:
    """Run each signature through TensorFlow 1's session, which is what TensorFlow Serving runs.

    Raises:
        RuntimeError: a signature does not run there.
    """
    image = np.zeros((1, 48, 64, 3), np.uint8)
    jpeg = tf.io.encode_jpeg(image[0]).numpy()
    feeds = {"serving_default": image, "encoded_image_string": [jpeg], "riverlens_info": [b""]}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for name, feed in feeds.items():
            signature = meta.signature_def[name]
            (source,) = (info.name for info in signature.inputs.values())
            try:
                session.run([info.name for info in signature.outputs.values()], {source: feed})
            except tf.errors.OpError as error:
                raise RuntimeError(
                    f"signature {name} does not run in a v1 session: {error.message}"
                ) from error
