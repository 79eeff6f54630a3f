"""The network: 256x256 pixels in, three heatmaps and four distances a cell out. Plain tf.Variables.

Stride 8 (a grid of 32x32 cells) carries the detail; one branch at stride 32 sees the whole street and is
added up. Batch norm is there for training only: `folded` merges it into the convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

INPUT_SIZE = 256
STRIDE = 8
CELLS = INPUT_SIZE // STRIDE
CLASSES = 3
_EPSILON = 1e-3
_MOMENTUM = 0.97

# name: (input channels, output channels, stride); all 3x3
_LAYERS: Mapping[str, tuple[int, int, int]] = {
    "stem": (3, 16, 2),
    "down4": (16, 24, 2),
    "res4a": (24, 24, 1),
    "res4b": (24, 24, 1),
    "down8": (24, 48, 2),
    "res8a": (48, 48, 1),
    "res8b": (48, 48, 1),
    "down16": (48, 48, 2),
    "down32": (48, 64, 2),
    "res32a": (64, 64, 1),
    "res32b": (64, 64, 1),
    "join": (64, 48, 1),
    "mix": (48, 48, 1),
}

Weights = dict[str, Any]


def init(seed: int) -> Weights:
    """Fresh weights: He-normal kernels [3,3,in,out], batch norm at rest, heads that say "nothing here"."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, (fan_in, out, _) in _LAYERS.items():
        scale = np.sqrt(2 / (9 * fan_in))
        weights[f"{name}/kernel"] = tf.Variable(
            rng.normal(0, scale, (3, 3, fan_in, out)).astype(np.float32), name=f"{name}_kernel"
        )
        weights[f"{name}/gamma"] = tf.Variable(tf.ones(out), name=f"{name}_gamma")
        weights[f"{name}/beta"] = tf.Variable(tf.zeros(out), name=f"{name}_beta")
        weights[f"{name}/mean"] = tf.Variable(tf.zeros(out), trainable=False, name=f"{name}_mean")
        weights[f"{name}/variance"] = tf.Variable(tf.ones(out), trainable=False, name=f"{name}_variance")
    width = 48
    for head, out, bias in (("heat", CLASSES, -3.0), ("box", 4, 0.0)):
        kernel = rng.normal(0, np.sqrt(1 / width), (1, 1, width, out)).astype(np.float32)
        weights[f"{head}/kernel"] = tf.Variable(kernel, name=f"{head}_kernel")
        weights[f"{head}/bias"] = tf.Variable(tf.fill([out], bias), name=f"{head}_bias")
    return weights


def _forward(x: Any, conv: Callable[[str, Any], Any], heads: Callable[[str, Any], Any]) -> tuple[Any, Any]:
    def residual(x: Any, name: str) -> Any:
        return tf.nn.relu(x + conv(f"{name}b", tf.nn.relu(conv(f"{name}a", x))))

    x = tf.nn.relu(conv("stem", x))
    x = residual(tf.nn.relu(conv("down4", x)), "res4")
    fine = residual(tf.nn.relu(conv("down8", x)), "res8")
    coarse = tf.nn.relu(conv("down32", tf.nn.relu(conv("down16", fine))))
    coarse = tf.nn.relu(conv("join", residual(coarse, "res32")))
    wide = tf.repeat(tf.repeat(coarse, 4, axis=1), 4, axis=2)
    x = tf.nn.relu(conv("mix", fine + wide))
    return heads("heat", x), _distances(heads("box", x))


def _distances(box: Any) -> Any:
    """Centre and size, which can be learnt freely, as distances from the cell's middle.

    They may be negative: a person far away is narrower than a cell, and may lie beside its middle.
    """
    centre = box[..., :2]
    half = tf.exp(tf.clip_by_value(box[..., 2:], -4.0, 3.5))
    return tf.concat([half - centre, half + centre], axis=-1)


def train_forward(weights: Weights, images: Any) -> tuple[Any, Any]:
    """Forward pass that normalises by the batch and moves the running statistics.

    Args:
        weights: from `init`.
        images: float32 [N, 256, 256, 3], 0 to 255.

    Returns:
        Heat logits [N, 32, 32, 3]; distances left, top, right, bottom from
        the cell's middle, in cells [N, 32, 32, 4].
    """

    def conv(name: str, x: Any) -> Any:
        y = tf.nn.conv2d(x, weights[f"{name}/kernel"], _LAYERS[name][2], "SAME")
        gamma, beta = weights[f"{name}/gamma"], weights[f"{name}/beta"]
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            y, gamma, beta, epsilon=_EPSILON, is_training=True
        )
        for key, now in (("mean", mean), ("variance", variance)):
            kept = weights[f"{name}/{key}"]
            kept.assign(kept * _MOMENTUM + now * (1 - _MOMENTUM))
        return y

    def head(name: str, x: Any) -> Any:
        return tf.nn.conv2d(x, weights[f"{name}/kernel"], 1, "SAME") + weights[f"{name}/bias"]

    return _forward(images / 127.5 - 1.0, conv, head)


def folded(weights: Weights) -> dict[str, np.ndarray]:
    """Kernels and biases with batch norm merged in, and the input's scaling merged into the stem.

    The stem's padding would differ by the scaling's offset at the border, so only the factor is merged.
    """
    plain: dict[str, np.ndarray] = {}
    for name in _LAYERS:
        parts = ("kernel", "gamma", "beta", "mean", "variance")
        kernel, gamma, beta, mean, variance = (weights[f"{name}/{part}"].numpy() for part in parts)
        factor = gamma / np.sqrt(variance + _EPSILON)
        plain[f"{name}/kernel"] = (kernel * factor).astype(np.float32)
        plain[f"{name}/bias"] = (beta - mean * factor).astype(np.float32)
    for head in ("heat", "box"):
        for part in ("kernel", "bias"):
            plain[f"{head}/{part}"] = weights[f"{head}/{part}"].numpy()
    return plain


def plain_forward(plain: Mapping[str, Any], images: Any) -> tuple[Any, Any]:
    """Forward pass of folded weights (arrays or variables); same arguments and results as training's."""

    def conv(name: str, x: Any) -> Any:
        stride = _LAYERS[name][2] if name in _LAYERS else 1
        return tf.nn.conv2d(x, plain[f"{name}/kernel"], stride, "SAME") + plain[f"{name}/bias"]

    return _forward(images / 127.5 - 1.0, conv, conv)


def parameters(weights: Weights) -> int:
    """How many numbers are learnt."""
    return sum(int(np.prod(v.shape)) for v in weights.values() if v.trainable)
