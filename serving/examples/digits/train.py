"""Train a softmax classifier of handwritten digits and write it as a SavedModel with two signatures.

    train.py models/trained --mnist=/data/mnist      the four idx files of MNIST, gzipped or not
    train.py models/trained --render=data            no MNIST at hand: digits drawn with a font, kept in data/

`predict_images`: `images` float [N,784] in 0..1 -> `scores` [N,10].
`serving_default` (tensorflow/serving/classify): tf.Example with the feature `x` -> `classes`, `scores`.

The recipe is that of TensorFlow Serving's tutorial: 1000 steps of 50 images at a rate of 0.01, zero weights.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

v1 = tf.compat.v1

SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 10
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
HEADER_BYTES = {IMAGES_MAGIC: 16, LABELS_MAGIC: 8}
SEED = 1

Array = NDArray[Any]


def main() -> int:
    """Read or render, train, say how well, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the SavedModel goes; must not exist")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--mnist", type=Path, help="folder of the idx files")
    data.add_argument("--render", type=Path, help="folder for idx files of rendered digits")
    parser.add_argument("--training_iteration", type=int, default=1000)
    given = parser.parse_args()
    folder = given.mnist or given.render
    if given.render and not (folder / "train-images-idx3-ubyte.gz").is_file():
        render(folder, "train", 6000, SEED)
        render(folder, "t10k", 1000, SEED + 1)
    try:
        images, labels = read(folder, "train")
        test_images, test_labels = read(folder, "t10k")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"train: {error}; the four idx files of MNIST belong there\n")
        return 2
    tf.get_logger().setLevel("ERROR")  # TensorFlow 2 calls what TensorFlow Serving is written for deprecated
    with tf.Graph().as_default(), v1.Session() as session:
        network = Network()
        network.train(session, images, labels, given.training_iteration)
        right = network.accuracy(session, test_images, test_labels)
        network.save(session, given.folder)
    what = "MNIST" if given.mnist else "rendered"
    sys.stdout.write(
        f"trained on {len(images)} {what} digits: {right:.1%} of {len(test_images)} others right\n"
    )
    return 0


class Network:
    """softmax(x W + b), in the default graph."""

    def __init__(self) -> None:
        self.example = v1.placeholder(tf.string, [None], "tf_example")
        parsed = tf.io.parse_example(self.example, {"x": tf.io.FixedLenFeature([PIXELS], tf.float32)})
        self.images = tf.identity(parsed["x"], "x")  # fed directly by `predict_images`
        self.labels = v1.placeholder(tf.float32, [None, CLASSES], "labels")
        weights = v1.get_variable("w", [PIXELS, CLASSES], initializer=v1.zeros_initializer())
        biases = v1.get_variable("b", [CLASSES], initializer=v1.zeros_initializer())
        self.logits = tf.matmul(self.images, weights) + biases
        self.scores = tf.nn.softmax(self.logits, name="y")

    def train(self, session: Any, images: Array, labels: Array, steps: int) -> None:
        """Gradient descent on the summed cross-entropy."""
        losses = tf.nn.softmax_cross_entropy_with_logits(labels=self.labels, logits=self.logits)
        step = v1.train.GradientDescentOptimizer(0.01).minimize(tf.reduce_sum(losses))
        session.run(v1.global_variables_initializer())
        one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
        for rows in batches(len(images), 50, steps):
            session.run(step, {self.images: images[rows], self.labels: one_hot[rows]})

    def accuracy(self, session: Any, images: Array, labels: Array) -> float:
        """The share that is right."""
        scores = session.run(self.scores, {self.images: images})
        return float(np.mean(np.argmax(scores, axis=1) == labels))

    def save(self, session: Any, folder: Path) -> None:
        """Both signatures over one graph."""
        info = v1.saved_model.build_tensor_info
        values, order = tf.nn.top_k(self.scores, CLASSES)
        classes = tf.gather(tf.constant([str(digit) for digit in range(CLASSES)]), order)
        predict = v1.saved_model.build_signature_def(
            {"images": info(self.images)}, {"scores": info(self.scores)}, "tensorflow/serving/predict"
        )
        classify = v1.saved_model.build_signature_def(
            {"inputs": info(self.example)},
            {"classes": info(classes), "scores": info(values)},
            "tensorflow/serving/classify",
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"predict_images": predict, "serving_default": classify}
        )
        builder.save()


def batches(count: int, size: int, steps: int) -> Iterator[Array]:
    """Row numbers of each step: every image once, in an order of its own, before any comes again."""
    random = np.random.default_rng(SEED)
    rows = random.permutation(count)
    start = 0
    for _ in range(steps):
        if start + size > count:
            rows, start = random.permutation(count), 0
        yield rows[start : start + size]
        start += size


def read(folder: Path, part: str) -> tuple[Array, Array]:
    """Images float [N,784] in 0..1 and labels int [N] of `train` or `t10k`."""
    images = idx(folder, f"{part}-images-idx3-ubyte", IMAGES_MAGIC)
    labels = idx(folder, f"{part}-labels-idx1-ubyte", LABELS_MAGIC)
    return images.reshape(-1, PIXELS).astype(np.float32) / 255, labels


def idx(folder: Path, name: str, magic: int) -> Array:
    """The bytes of one idx file."""
    path = folder / f"{name}.gz"
    raw = gzip.decompress(path.read_bytes()) if path.is_file() else (folder / name).read_bytes()
    if struct.unpack(">I", raw[:4])[0] != magic:
        raise ValueError(f"{folder / name} is no idx file")
    return np.frombuffer(raw, np.uint8, offset=HEADER_BYTES[magic])


def render(folder: Path, part: str, count: int, seed: int) -> None:
    """Write `count` digits as idx files: one font, but each of its own size, slant, weight and place."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count, dtype=np.uint8)
    images = np.stack([digit(int(label), random) for label in labels])
    folder.mkdir(parents=True, exist_ok=True)
    for name, head, body in (
        ("images-idx3", struct.pack(">4I", IMAGES_MAGIC, count, SIDE, SIDE), images),
        ("labels-idx1", struct.pack(">2I", LABELS_MAGIC, count), labels),
    ):
        packed = gzip.compress(head + body.tobytes(), mtime=0)
        (folder / f"{part}-{name}-ubyte.gz").write_bytes(packed)


@cache
def font(size: int) -> Any:
    """Pillow's own font; loading it takes longer than drawing with it."""
    return ImageFont.load_default(size)


def digit(label: int, random: np.random.Generator) -> Array:
    """uint8 [28,28], white on black."""
    image = Image.new("L", (SIDE, SIDE))
    typeface = font(int(random.integers(20, 25)))
    middle = tuple(SIDE / 2 + random.uniform(-1.5, 1.5, 2))
    weight = int(random.integers(0, 2))
    ImageDraw.Draw(image).text(middle, str(label), 255, typeface, anchor="mm", stroke_width=weight)
    slant = random.uniform(-0.2, 0.2)
    sheared = image.transform(
        image.size, Image.Transform.AFFINE, (1, slant, -slant * SIDE / 2, 0, 1, 0), Image.Resampling.BILINEAR
    )
    turned = sheared.rotate(random.uniform(-10, 10), Image.Resampling.BILINEAR)
    noisy = np.asarray(turned, np.float32) + random.normal(0, 20, (SIDE, SIDE))
    return np.clip(noisy, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
