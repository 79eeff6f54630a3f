"""From heatmaps to boxes, inside the graph: 3x3 max-pool peaks, the top 50."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from riverlens_serving.street.network import CELLS, CLASSES

TOP = 50


def peaks(logits: Any, ltrb: Any) -> tuple[Any, Any, Any]:
    """The strongest local maxima.

    Args:
        logits: [N, 32, 32, 3].
        ltrb: [N, 32, 32, 4], distances in cells.

    Returns:
        boxes [N, 50, 4] as ymin, xmin, ymax, xmax in 0..1; classes [N, 50] float32 from 1; scores [N, 50],
        falling.
    """
    heat = tf.sigmoid(logits)
    # A peak of one class suppresses the other classes' weaker peaks around it: one object, one class.
    best = tf.reduce_max(heat, axis=-1, keepdims=True)
    around = tf.nn.max_pool2d(best, 3, 1, "SAME")
    heat = tf.where(heat >= around, heat, 0.0)
    flat = tf.reshape(heat, [tf.shape(heat)[0], CELLS * CELLS * CLASSES])
    scores, index = tf.math.top_k(flat, TOP)
    cell, kind = index // CLASSES, index % CLASSES
    distances = tf.gather(tf.reshape(ltrb, [-1, CELLS * CELLS, 4]), cell, batch_dims=1)
    x = tf.cast(cell % CELLS, tf.float32) + 0.5
    y = tf.cast(cell // CELLS, tf.float32) + 0.5
    edges = (y - distances[..., 1], x - distances[..., 0], y + distances[..., 3], x + distances[..., 2])
    boxes = tf.clip_by_value(tf.stack(edges, axis=-1) / CELLS, 0.0, 1.0)
    return boxes, tf.cast(kind + 1, tf.float32), scores


def resize(images: Any) -> Any:
    """Pixels [N, H, W, 3] of any dtype to float32 [N, 256, 256, 3], 0 to 255, as training saw them.

    The kernel reads bytes as they are: a cast of the whole picture first would give the same numbers at three
    times the price for 1080p. Not antialiased: that takes five times as long at 640x480.
    """
    return tf.image.resize(images, (256, 256), "bilinear")
