"""Focal loss on the heatmaps, generalised IoU loss on the boxes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def focal(logits: Any, heat: Any) -> Any:
    """CenterNet's focal loss per object; cells with a target below 0 do not count.

    Args:
        logits: [N, 32, 32, 3].
        heat: the targets, same shape.
    """
    probability = tf.sigmoid(logits)
    log_p, log_q = tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)
    is_peak = tf.cast(heat > 0.999, tf.float32)  # noqa: PLR2004  # exactly 1 but for rounding
    counts = tf.cast(heat >= 0, tf.float32)
    hit = is_peak * (1 - probability) ** 2 * log_p
    miss = (1 - is_peak) * counts * (1 - tf.maximum(heat, 0.0)) ** 4 * probability**2 * log_q
    return -tf.reduce_sum(hit + miss) / tf.maximum(1.0, tf.reduce_sum(is_peak))


def giou(found: Any, wanted: Any, weight: Any) -> Any:
    """1 - generalised IoU of boxes given by their distances from the same cell, weighted.

    Args:
        found: [N, 32, 32, 4] left, top, right, bottom in cells.
        wanted: the targets, same shape.
        weight: [N, 32, 32].
    """
    area = (wanted[..., 0] + wanted[..., 2]) * (wanted[..., 1] + wanted[..., 3])
    ours = (found[..., 0] + found[..., 2]) * (found[..., 1] + found[..., 3])
    low, high = tf.minimum(found, wanted), tf.maximum(found, wanted)
    both = tf.nn.relu(low[..., 0] + low[..., 2]) * tf.nn.relu(low[..., 1] + low[..., 3])
    hull = (high[..., 0] + high[..., 2]) * (high[..., 1] + high[..., 3])
    union = area + ours - both
    score = both / tf.maximum(union, 1e-6) - (hull - union) / tf.maximum(hull, 1e-6)
    return tf.reduce_sum((1 - score) * weight) / tf.maximum(1.0, tf.reduce_sum(weight))
