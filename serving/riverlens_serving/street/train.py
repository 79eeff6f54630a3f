"""Train the demo's detector: `python -m riverlens_serving.street.train --out serving/models/street/1`.

Draws scenes, trains, prints mAP@0.5 on 400 held-out scenes, exports. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from riverlens_serving.street.boxes import peaks, resize
from riverlens_serving.street.data import Sample, draw, held_out
from riverlens_serving.street.export import export
from riverlens_serving.street.losses import focal, giou
from riverlens_serving.street.network import folded, init, parameters, plain_forward, train_forward
from riverlens_serving.street.score import Found, mean_average_precision, recall_precision
from riverlens_serving.street.targets import cropped, targets

_SEED = 20_260
_BATCH = 16
_PEAK_RATE = 3e-3
_DECAY = 1e-4
_BOX_WEIGHT = 3.0
_MOMENTS = 8
_WHOLE = 0.6


def main(argv: Sequence[str] | None = None) -> int:
    """Train, score, export; 1 where the score misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="version folder to write")
    parser.add_argument("--scenes", type=int, default=4000, help="scenes to learn from")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--held-out", type=int, default=400, help="scenes to be judged by")
    options = parser.parse_args(argv)
    started_s = time.monotonic()
    names = [f"train-{number}" for number in range(-(-options.scenes // _MOMENTS))]
    samples = draw(names, _MOMENTS, processes=os.cpu_count() or 1)[: options.scenes]
    _say(started_s, f"drew {len(samples)} scenes of {len(names)} streets")
    tf.random.set_seed(_SEED)
    weights = init(_SEED)
    _say(started_s, f"{parameters(weights)} parameters")
    _train(weights, samples, options.epochs, started_s)
    plain = folded(weights)
    found, truths = judge(plain, held_out(options.held_out))
    score = mean_average_precision(found, truths)
    recall, precision = recall_precision(found, truths, least_score=0.3)
    _say(
        started_s,
        f"held out: mAP@0.5 {score:.3f}; at score 0.3: recall {recall:.3f}, precision {precision:.3f}",
    )
    _say(started_s, f"exported to {export(plain, options.out)}")
    return 0 if score >= 0.9 else 1  # noqa: PLR2004  # the bar the demo's detector is held to


def judge(plain: Mapping[str, Any], samples: Sequence[Sample]) -> tuple[list[Found], list[Any]]:
    """What folded weights find in each sample, and the truths."""

    @tf.function  # type: ignore[untyped-decorator]  # no types
    def detect(images: Any) -> Any:
        return peaks(*plain_forward(plain, resize(images)))

    found = []
    for sample in samples:
        boxes, classes, scores = (part.numpy()[0] for part in detect(sample.pixels()[None]))
        found.append(Found(boxes, classes, scores))
    return found, [sample.objects for sample in samples]


def _small(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    small = np.empty((len(samples), 256, 256, 3), np.uint8)
    for index, sample in enumerate(samples):
        small[index] = np.clip(np.round(resize(sample.pixels()[None]).numpy()[0]), 0, 255)
    return small


def _train(weights: dict[str, Any], samples: Sequence[Sample], epochs: int, started_s: float) -> None:
    small = _small(samples)
    learnt = [value for value in weights.values() if value.trainable]
    steps = epochs * (len(samples) // _BATCH)
    rate = tf.keras.optimizers.schedules.CosineDecay(
        _PEAK_RATE / 20, steps, alpha=0.01, warmup_target=_PEAK_RATE, warmup_steps=max(1, steps // 20)
    )
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=_DECAY, global_clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_list=[value for value in learnt if len(value.shape) == 1])
    optimizer.build(learnt)

    @tf.function  # type: ignore[untyped-decorator]  # no types
    def step(images: Any, windows: Any, heat: Any, ltrb: Any, near: Any) -> tuple[Any, Any]:
        zoomed = tf.image.crop_and_resize(images, windows, tf.range(_BATCH), (256, 256))
        with tf.GradientTape() as tape:
            logits, found = train_forward(weights, _jitter(zoomed))
            heat_loss, box_loss = focal(logits, heat), giou(found, ltrb, near)
            loss = heat_loss + _BOX_WEIGHT * box_loss
        optimizer.apply_gradients(zip(tape.gradient(loss, learnt), learnt, strict=True))
        return heat_loss, box_loss

    rng = np.random.default_rng(_SEED)
    for epoch in range(1, epochs + 1):
        losses = [[float(part) for part in step(*batch)] for batch in _batches(small, samples, rng)]
        heat_loss, box_loss = np.mean(losses, axis=0)
        _say(started_s, f"epoch {epoch}/{epochs}: heat {heat_loss:.3f}, boxes {box_loss:.3f}")


def _batches(
    small: NDArray[np.uint8], samples: Sequence[Sample], rng: np.random.Generator
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Shuffled batches: half of the pictures mirrored, most seen through a window of their own."""
    order = rng.permutation(len(small))
    for start in range(0, len(order) - _BATCH + 1, _BATCH):
        chosen = order[start : start + _BATCH]
        windows = [_window(rng) for _ in chosen]
        objects = [cropped(samples[k].objects, window) for k, window in zip(chosen, windows, strict=True)]
        heat, ltrb, near = (np.stack(part) for part in zip(*map(targets, objects), strict=True))
        # crop_and_resize mirrors where a window's right edge comes first.
        mirrored = rng.random(_BATCH) < 0.5  # noqa: PLR2004  # half of them
        for part in (heat, ltrb, near):
            part[mirrored] = part[mirrored][:, :, ::-1]
        ltrb[mirrored] = ltrb[mirrored][..., [2, 1, 0, 3]]
        edges = [
            (y1, x2, y2, x1) if m else (y1, x1, y2, x2)
            for (x1, y1, x2, y2), m in zip(windows, mirrored, strict=True)
        ]
        yield small[chosen].astype(np.float32), np.array(edges, np.float32), heat, ltrb, near


def _window(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2): the whole picture, or a part of at least three quarters of each side."""
    wide, high = (1.0, 1.0) if rng.random() < _WHOLE else rng.uniform(0.75, 1.0, 2)
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    return float(left), float(top), float(left + wide), float(top + high)


def _jitter(images: Any) -> Any:
    """Other light and colours, picture by picture; float32 0 to 255."""
    count = tf.shape(images)[0]
    pixels = tf.cast(images, tf.float32)
    gain = tf.random.uniform([count, 1, 1, 3], 0.85, 1.15) * tf.random.uniform([count, 1, 1, 1], 0.75, 1.25)
    mean = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
    contrast = tf.random.uniform([count, 1, 1, 1], 0.8, 1.2)
    gray = tf.reduce_mean(pixels, axis=3, keepdims=True)
    colour = tf.random.uniform([count, 1, 1, 1], 0.6, 1.3)
    pixels = gray + (pixels - gray) * colour
    return tf.clip_by_value(((pixels - mean) * contrast + mean) * gain, 0.0, 255.0)


def _say(started_s: float, text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - started_s:6.0f} s  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
