"""One tiny model in every form that people train to: the mean colour of an image, times a learnt 1.

Input float [N,8,8,3] -> `colour` float [N,3]: what the model was fed shows in what it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

SIZE = 8
v1 = tf.compat.v1


def _graph(*, training: bool = False) -> Any:
    """The network in the default graph: (placeholder, answer)."""
    image = v1.placeholder(tf.float32, [None, SIZE, SIZE, 3], "image")
    scale = v1.get_variable("scale", [3], initializer=v1.ones_initializer(), use_resource=False)
    answer = tf.multiply(tf.reduce_mean(image, [1, 2]), scale, name="colour")
    if training:
        v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(answer))
    return image, answer


def frozen(folder: Path) -> Path:
    """`frozen.pb`: variables as constants."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        _graph()
        session.run(v1.global_variables_initializer())
        constants = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["colour"])
    path = folder / "frozen.pb"
    path.write_bytes(constants.SerializeToString())
    return path


def checkpoint(folder: Path, *, training: bool = False) -> Path:
    """A checkpoint with its meta graph; the latter's path."""
    with tf.Graph().as_default(), v1.Session() as session:
        _graph(training=training)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model.ckpt"), global_step=7)
    return folder / "model.ckpt-7.meta"


def saved_model_1(folder: Path) -> Path:
    """A TensorFlow 1 SavedModel whose two signatures share their input."""
    with tf.Graph().as_default(), v1.Session() as session:
        image, answer = _graph()
        session.run(v1.global_variables_initializer())
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.build_signature_def(
            {"image": info(image)}, {"colour": info(answer)}, "tensorflow/serving/predict"
        )
        builder = v1.saved_model.Builder(str(folder / "tf1"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature, "again": signature}
        )
        builder.save()
    return folder / "tf1"


class _Colour(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable([1.0, 1.0, 1.0])

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, "image")])  # type: ignore[untyped-decorator]  # no types
    def colour(self, image: Any) -> dict[str, Any]:
        return {"colour": tf.reduce_mean(image, [1, 2]) * self.scale}


def saved_model_2(folder: Path) -> Path:
    """A TensorFlow 2 SavedModel."""
    module = _Colour()
    tf.saved_model.save(module, str(folder / "tf2"), signatures={"serving_default": module.colour})
    return folder / "tf2"


def brightness(folder: Path, dtype: str = "float32") -> Path:
    """Another model: pixels [N,1,8,8] of one channel -> `level` float [N,1], their mean."""
    spec = tf.TensorSpec([None, 1, SIZE, SIZE], dtype, "image")
    level = tf.function(lambda image: {"level": tf.reduce_mean(tf.cast(image, tf.float32), [2, 3])})
    signatures = {"serving_default": level.get_concrete_function(spec)}
    tf.saved_model.save(tf.Module(), str(folder / dtype), signatures=signatures)
    return folder / dtype


def keras_model() -> Any:
    """The same as a Keras model."""
    import keras  # noqa: PLC0415  # slow to import, and few tests need it

    inputs = keras.Input((SIZE, SIZE, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    colour = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity", name="colour")(mean)
    return keras.Model(inputs, colour)


def keras_file(folder: Path) -> Path:
    """`model.keras`."""
    keras_model().save(folder / "model.keras")
    return folder / "model.keras"


def h5_file(folder: Path) -> Path:
    """`model.h5`, which Keras calls legacy."""
    keras_model().save(folder / "model.h5")
    return folder / "model.h5"


SOURCES: Mapping[str, Callable[[Path], Path]] = {
    "frozen graph": frozen,
    "checkpoint": checkpoint,
    "TF1 SavedModel": saved_model_1,
    "TF2 SavedModel": saved_model_2,
    ".keras": keras_file,
    ".h5": h5_file,
}
"""Form -> what writes the model in it into a folder and returns what to export."""
