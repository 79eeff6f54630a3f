"""Small models that find a coloured rectangle, fed and answering in the many ways of real exports.

Each answers the box around the pixels of one strong colour, with the class of that colour (red, green,
blue) and its brightness (0..1) for a score: a wrong range, channel order, axis order or box form shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

MEAN = (103.939, 116.779, 123.68)
"""What keras.applications takes from BGR pixels 0..255."""

Feed = Callable[[Any], Any]
"""From the model's input to RGB [N,H,W,3], 0..1."""
Answer = Callable[[Any, Any, Any, Any], Mapping[str, Any]]
"""From boxes [N,4] (fractions y, x, y, x), class [N] (0, 1, 2), score [N], size [2] to the outputs."""


def from_bytes(images: Any) -> Any:
    """0..255."""
    return tf.cast(images, tf.float32) / 255


def from_unit(images: Any) -> Any:
    """0..1."""
    return tf.cast(images, tf.float32)


def from_signed(images: Any) -> Any:
    """-1..1."""
    return (images + 1) / 2


def from_bgr_mean(images: Any) -> Any:
    """Blue, green, red of 0..255 less their means."""
    return tf.reverse((images + tf.constant(MEAN)) / 255, [-1])


def from_planes(images: Any) -> Any:
    """Channels first, 0..1."""
    return tf.transpose(images, [0, 2, 3, 1])


def from_any_rank(images: Any) -> Any:
    """0..255, whose shape the signature does not tell."""
    return from_bytes(tf.ensure_shape(images, [None, None, None, 3]))


def from_strings(images: Any) -> Any:
    """One encoded image."""
    return from_bytes(tf.io.decode_image(images[0], channels=3, expand_animations=False)[None])


def _slots(boxes: Any, kind: Any, score: Any, slots: int) -> tuple[Any, Any, Any]:
    """The box in the first of `slots`, the rest empty."""
    rest = slots - 1
    return (
        tf.pad(boxes[:, None], [[0, 0], [0, rest], [0, 0]]),
        tf.pad(kind[:, None], [[0, 0], [0, rest]]),
        tf.pad(score[:, None], [[0, 0], [0, rest]]),
    )


def as_object_detection(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """The names of the TensorFlow 2 Object Detection API, the large raw outputs among them."""
    found, classes, scores = _slots(boxes, kind + 1, score, 5)
    return {
        "detection_boxes": found,
        "detection_classes": classes,
        "detection_scores": scores,
        "num_detections": tf.ones_like(score),
        "raw_detection_boxes": tf.repeat(found, 20, axis=1),
        "raw_detection_scores": tf.repeat(scores, 20, axis=1),
        "detection_anchor_indices": scores,
    }


def as_squeezed(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """The same of one image a call, its outputs squeezed: [5,4], [5], [5], []."""
    return {name: each[0] for name, each in as_object_detection(boxes, kind, score, size).items()}


def as_yolo_squeezed(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """Ultralytics without the dimension of rows, turned round: [8400,84]."""
    return {"output_0": tf.transpose(as_yolo(boxes, kind, score, size)["output_0"][0])}


def as_mixed(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """One array a row, and what is no row's or fits no event."""
    found = {"place": boxes, "version": tf.constant(3.0), "wave": tf.complex(kind, score)}
    return found | {"names": tf.constant(["red", "green"])}


def as_picture(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """Scores for every pixel of 513 x 513: 100 MB as JSON."""
    return {"mask": tf.tile((kind + score)[:, None, None, None] / 7 + 0 * boxes[0, 0], [1, 513, 513, 21])}


def as_efficientdet(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """EfficientDet as automl saves it: boxes in pixels, scores, classes, valid length."""
    found, classes, scores = _slots(boxes * tf.tile(size, [2]), kind + 1, score, 100)
    return {"output_0": found, "output_1": scores, "output_2": classes, "output_3": tf.ones_like(score)}


def as_efficientdet_rows(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """EfficientDet as automl freezes it: [N,100,7]."""
    found, classes, scores = _slots(boxes * tf.tile(size, [2]), kind + 1, score, 100)
    image = tf.zeros_like(scores)[..., None]
    return {"detections": tf.concat([image, found, scores[..., None], classes[..., None]], 2)}


def as_rows(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """Ultralytics with NMS inside: [N,300,6], x1, y1, x2, y2 in pixels, score, class."""
    turned = tf.gather(boxes * tf.tile(size, [2]), [1, 0, 3, 2], axis=1)
    found, classes, scores = _slots(turned, kind, score, 300)
    return {"output_0": tf.concat([found, scores[..., None], classes[..., None]], 2)}


def _raw(boxes: Any, kind: Any, score: Any, slots: int) -> tuple[Any, Any]:
    """[N,slots,4] centre and size, five of them nearly alike; [N,slots,80] scores, the rest nearly 0."""
    middle, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    one = tf.reverse(tf.concat([extent, middle], 1), [1])
    growth = tf.constant([[1.0, 1.0, 1 + step, 1 + step] for step in (0.0, 0.02, -0.02, 0.04, -0.04)])
    shifted = one[:, None] * growth[None]
    best = tf.one_hot(tf.cast(kind, tf.int32), 80)[:, None] * score[:, None, None]
    weaker = best * tf.constant([1.0, 0.99, 0.98, 0.97, 0.96])[None, :, None]
    rest = slots - 5
    found = tf.pad(shifted, [[0, 0], [100, rest - 100], [0, 0]], constant_values=0.01)
    return found, tf.pad(weaker, [[0, 0], [100, rest - 100], [0, 0]], constant_values=0.001)


def as_yolo(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """Ultralytics' SavedModel of YOLOv8: [N,84,8400], fractions."""
    found, scores = _raw(boxes, kind, score, 8400)
    return {"output_0": tf.transpose(tf.concat([found, scores], 2), [0, 2, 1])}


def as_yolo_pixels(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """As through ONNX: the same in pixels of the input, and mask coefficients behind."""
    found, scores = _raw(boxes * tf.tile(size, [2]), kind, score, 8400)
    masks = tf.ones_like(found) * 9
    return {"output0": tf.transpose(tf.concat([found, scores, masks], 2), [0, 2, 1])}


def as_yolo_5(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """YOLOv5: [N,6300,85], objectness before the classes."""
    found, scores = _raw(boxes, kind, tf.sqrt(score), 6300)
    return {"output_0": tf.concat([found, tf.reduce_max(scores, 2, keepdims=True), scores], 2)}


def as_logits_by_class(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """Boxes, and a logit for each of three classes."""
    probability = tf.clip_by_value(tf.one_hot(tf.cast(kind, tf.int32), 3) * score[:, None], 1e-6, 1 - 1e-6)
    logits = tf.math.log(probability / (1 - probability))
    return {"boxes": tf.repeat(boxes[:, None], 3, 1), "class_logits": tf.repeat(logits[:, None], 3, 1)}


def as_two_arrays(boxes: Any, kind: Any, score: Any, _: Any) -> Mapping[str, Any]:
    """Nothing anybody knows."""
    return {"place": boxes, "depth": tf.stack([kind, score], 1)[:, None]}


def as_logits(_: Any, kind: Any, score: Any, __: Any) -> Mapping[str, Any]:
    """A classifier without softmax: 8 for the class, less 1 for the others."""
    return {"logits": 9 * tf.one_hot(tf.cast(kind, tf.int32), 3) - 1 + 0 * score[:, None]}


def as_probabilities(_: Any, kind: Any, score: Any, __: Any) -> Mapping[str, Any]:
    """A classifier: the score for the class, the rest for the others."""
    one = tf.one_hot(tf.cast(kind, tf.int32), 3)
    return {"output_0": one * score[:, None] + (1 - one) * (1 - score[:, None]) / 2}


def as_first_only(boxes: Any, kind: Any, score: Any, size: Any) -> Mapping[str, Any]:
    """An export that forgot its batch: whatever comes in, one row goes out."""
    return {name: each[:1] for name, each in as_object_detection(boxes, kind, score, size).items()}


@dataclass(frozen=True, slots=True)
class Form:
    """One way to be fed and to answer."""

    shape: tuple[int | None, ...] | None
    dtype: str
    feed: Feed
    answer: Answer
    alias: str = "images"
    info: Mapping[str, object] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    """Further names of the same signature."""


class _Nothing(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Holds no variable."""


def _find(rgb: Any) -> tuple[Any, Any, Any]:
    """Box (y, x, y, x in pixels), class and score of the strong colour in each of [N,H,W,3]."""
    means = (tf.reduce_sum(rgb, 3, keepdims=True) - rgb) / 2
    strength = rgb - means
    kind = tf.argmax(tf.reduce_max(strength, [1, 2]), 1)
    mine = tf.gather(strength, kind, axis=3, batch_dims=1) > 0.35
    rows, columns = tf.reduce_any(mine, 2), tf.reduce_any(mine, 1)
    ends = [_ends(rows), _ends(columns)]
    boxes = tf.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], 1)
    level = tf.reduce_max(tf.gather(rgb, kind, axis=3, batch_dims=1), [1, 2])
    return boxes, tf.cast(kind, tf.float32), level


def _ends(line: Any) -> tuple[Any, Any]:
    """First true place and the one behind the last, of [N,L]; 0, 0 where none is."""
    length = tf.shape(line)[1]
    numbers = tf.range(length)[None]
    first = tf.reduce_min(tf.where(line, numbers, length), 1)
    behind = tf.reduce_max(tf.where(line, numbers + 1, 0), 1)
    return tf.cast(tf.minimum(first, behind), tf.float32), tf.cast(behind, tf.float32)


def write(form: Form, folder: Path) -> None:
    """Save a model of this form as one version folder."""
    module = _Nothing()

    def body(**images: Any) -> dict[str, Any]:
        rgb = tf.cast(form.feed(images[form.alias]), tf.float32)
        boxes, kind, score = _find(rgb)
        size = tf.cast(tf.shape(rgb)[1:3], tf.float32)
        return dict(form.answer(boxes / tf.tile(size, [2]), kind, score, size))

    spec = tf.TensorSpec(form.shape, form.dtype, form.alias)
    run = tf.function(body).get_concrete_function(**{form.alias: spec})
    signatures = dict.fromkeys(("serving_default", *form.also), run)
    if form.info:
        text = json.dumps(form.info)
        told = tf.function(lambda key: {"json": tf.fill(tf.shape(key), text)})
        signatures["riverlens_info"] = told.get_concrete_function(key=tf.TensorSpec([None], tf.string, "key"))
    tf.saved_model.save(module, str(folder), signatures=signatures)
