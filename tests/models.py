"""Small SavedModels, made on the spot: what the contract and integration tests serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

Signatures = Mapping[str, Any]


class _Holder(tf.Module):  # type: ignore[misc]  # tensorflow ships no types
    """Owns the variables that a model's functions use, so that saving finds them."""

    def __init__(self, **variables: Any) -> None:
        super().__init__()
        for name, value in variables.items():
            setattr(self, name, tf.Variable(value, name=name))


def _save(module: Any, folder: Path, signatures: Signatures) -> Path:
    tf.saved_model.save(module, str(folder), signatures=dict(signatures))
    return folder


def _function(body: Callable[..., Any], **inputs: Any) -> Any:
    """A concrete function with one named input each, as signatures want them."""
    specs = {name: tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()}
    return tf.function(body).get_concrete_function(**specs)


def half_plus(folder: Path, offset: float = 2.0) -> Path:
    """`x` float [N] -> `y` = x / 2 + offset: one version folder."""
    module = _Holder(a=0.5, b=offset)
    run = _function(lambda x: {"y": module.a * x + module.b}, x=([None], tf.float32))
    return _save(module, folder, {"serving_default": run})


def two_inputs(folder: Path) -> Path:
    """`a`, `b` float [N,3] -> `sum` [N,3], `first` [N]: signatures `add` and `again`, no default."""
    module = _Holder(scale=1.0)

    def body(a: Any, b: Any) -> dict[str, Any]:
        return {"sum": (a + b) * module.scale, "first": a[:, 0] * module.scale}

    run = _function(body, a=([None, 3], tf.float32), b=([None, 3], tf.float32))
    return _save(module, folder, {"add": run, "again": run})


def matmul(folder: Path) -> Path:
    """`x` float [N,3] -> `y` [N,2]: row sums, and those doubled. Another width fails in the kernel."""
    module = _Holder(w=[[1.0, 2.0]] * 3)
    return _save(
        module,
        folder,
        {"serving_default": _function(lambda x: {"y": tf.matmul(x, module.w)}, x=([None, None], tf.float32))},
    )


def rank(folder: Path) -> Path:
    """`x` float [N,...] of any shape -> `y` float [N]: sums. Takes whatever shape it is sent."""
    module = _Holder(zero=0.0)

    def body(x: Any) -> dict[str, Any]:
        rows = tf.reshape(x, [tf.shape(x)[0], -1])
        return {"y": tf.reduce_sum(rows, axis=1) + module.zero}

    return _save(module, folder, {"serving_default": _function(body, x=(None, tf.float32))})


def unbatchable(folder: Path) -> Path:
    """`x` float [N]: signature `scalar` -> `y` [], `longer` -> `y` [N+1]; `nothing` takes no input."""
    module = _Holder(zero=0.0)
    return _save(
        module,
        folder,
        {
            "scalar": _function(lambda x: {"y": tf.reduce_sum(x) + module.zero}, x=([None], tf.float32)),
            "longer": _function(lambda x: {"y": tf.concat([x, [module.zero]], 0)}, x=([None], tf.float32)),
            "nothing": _function(lambda: {"y": tf.reshape(module.zero, [1])}),
        },
    )


ECHO_TYPES = (
    tf.float32, tf.float64, tf.int32, tf.uint8, tf.int16, tf.int8, tf.string, tf.complex64, tf.int64, tf.bool,
    tf.bfloat16, tf.uint16, tf.complex128, tf.float16, tf.uint32, tf.uint64,
)  # fmt: skip
"""Every type with a typed field in TensorProto."""


def echo(folder: Path) -> Path:
    """Signature `<type>` for each of ECHO_TYPES: `x` [N] of the type -> `y`, the same."""
    module = _Holder(zero=0.0)
    signatures = {
        dtype.name: _function(lambda x: {"y": tf.identity(x)}, x=([None], dtype)) for dtype in ECHO_TYPES
    }
    return _save(module, folder, signatures)


def _mean_colour_detections(module: Any, images: Any) -> dict[str, Any]:
    """The detection outputs of one [N,H,W,3] batch: a box over the whole image, class by channel."""
    colours = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2]) / 255.0
    count = tf.shape(colours)[0]
    rest = module.slots - 1
    boxes = tf.tile(tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), [count, 1, 1])
    return {
        "detection_boxes": tf.pad(boxes, [[0, 0], [0, rest], [0, 0]]),
        "detection_classes": tf.pad(
            tf.cast(tf.argmax(colours, 1)[:, None] + 1, tf.float32), [[0, 0], [0, rest]]
        ),
        "detection_scores": tf.pad(tf.reduce_max(colours, 1)[:, None], [[0, 0], [0, rest]]),
        "num_detections": tf.ones([count], tf.float32),
    }


def mean_colour_detector(folder: Path, slots: int = 3) -> Path:
    """A detector in the TF Object Detection API's names: one box an image, class 1 red, 2 green, 3 blue.

    Signatures `serving_default` (`inputs` uint8 [N,H,W,3]) and `encoded_image_string` (`inputs` string [N]).
    `slots` rows of detections an image, those after the first empty.
    """
    module = _Holder(slots=slots)

    def encoded(inputs: Any) -> dict[str, Any]:
        def colour(image: Any) -> Any:
            pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
            pixels.set_shape([None, None, 3])
            return tf.reduce_mean(tf.cast(pixels, tf.float32), axis=[0, 1])

        with tf.device("/CPU:0"):
            colours = tf.map_fn(colour, inputs, fn_output_signature=tf.TensorSpec([3], tf.float32))
        return _mean_colour_detections(module, colours[:, None, None, :])

    return _save(
        module,
        folder,
        {
            "serving_default": _function(
                lambda inputs: _mean_colour_detections(module, inputs),
                inputs=([None, None, None, 3], tf.uint8),
            ),
            "encoded_image_string": _function(encoded, inputs=([None], tf.string)),
        },
    )


def gate(folder: Path, opened: Path) -> Path:
    """`x` float [N] -> `y` = x once the file `opened` exists: holds its caller until the test lets go.

    Tells that a caller is in by the file `opened` with the suffix `.entered`. Same machine only.
    """
    module = _Holder(zero=0.0)

    def body(x: Any) -> dict[str, Any]:
        def shut(tries: Any) -> Any:
            # The name depends on the loop, or TensorFlow would look once and keep the answer.
            name = tf.where(tries < 0, "", str(opened))
            return tf.equal(tf.size(tf.io.matching_files(name)), 0)

        with tf.control_dependencies([tf.io.write_file(str(opened.with_suffix(".entered")), "")]):
            tries = tf.while_loop(shut, lambda n: (n + 1,), [tf.constant(0)], parallel_iterations=1)[0]
        with tf.control_dependencies([tries]):
            return {"y": tf.identity(x) + module.zero}

    return _save(module, folder, {"serving_default": _function(body, x=([None], tf.float32))})


def _save_v1(folder: Path, build: Callable[[], Signatures]) -> Path:
    """A TF1 SavedModel of the signatures that `build` makes in a graph of its own."""
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], dict(build()))
        builder.save()
    return folder


def _signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str) -> Any:
    info = tf.compat.v1.saved_model.build_tensor_info
    return tf.compat.v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


def defaults(folder: Path) -> Path:
    """`x` float [N] and `bias` float [1], which defaults to 10 -> `y` = x + bias. A TF1 SavedModel."""

    def build() -> Signatures:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        bias = tf.compat.v1.placeholder(tf.float32, [1], name="bias")
        signature = _signature({"x": x, "bias": bias}, {"y": tf.add(x, bias, name="y")}, "predict")
        signature.defaults["bias"].CopyFrom(tf.make_tensor_proto([10.0]))
        return {"serving_default": signature}

    return _save_v1(folder, build)


def examples(folder: Path) -> Path:
    """tf.Examples with a float `x` -> `outputs` x / 2 + 2; `scores` [x / 2 + 2, x]; `classes` [half, all].

    Signatures by what they give: `serving_default` and `both` classes and scores, `scores`, `regress`; by
    what is wrong: `wide` regresses to two columns, `custom` has a method name of nobody's.
    """

    def build() -> Signatures:
        inputs = tf.compat.v1.placeholder(tf.string, [None], name="examples")
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        x = tf.io.parse_example(serialized=inputs, features=spec)["x"]
        half = x / 2 + 2
        scores = tf.concat([half, x], axis=1)
        classes = tf.tile(tf.constant([["half", "all"]]), [tf.shape(x)[0], 1])
        taken = {"inputs": inputs}
        both = _signature(taken, {"classes": classes, "scores": scores}, "classify")
        return {
            "serving_default": both,
            "both": both,
            "scores": _signature(taken, {"scores": scores}, "classify"),
            "regress": _signature(taken, {"outputs": half}, "regress"),
            "wide": _signature(taken, {"outputs": scores}, "regress"),
            "custom": _signature(taken, {"outputs": half}, "custom"),
        }

    return _save_v1(folder, build)


def two_dense_layers(folder: Path, width: int = 4096) -> Path:
    """`x` float [N,width] -> `y` [N,width], through two width x width layers: memory-bound at one row."""
    module = _Holder(
        first=tf.random.stateless_uniform([width, width], (1, 2), -0.01, 0.01),
        second=tf.random.stateless_uniform([width, width], (3, 4), -0.01, 0.01),
    )
    run = _function(
        lambda x: {"y": tf.matmul(tf.nn.relu(tf.matmul(x, module.first)), module.second)},
        x=([None, width], tf.float32),
    )
    return _save(module, folder, {"serving_default": run})


def write_model_config(
    folder: Path, base_paths: Mapping[str, Path], labels: Mapping[str, Mapping[str, int]] | None = None
) -> Path:
    """A ModelServerConfig text file for these models; renamed into place, as it may be watched."""
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "{path.absolute()}" model_platform: "tensorflow"'
        + "".join(
            f' version_labels {{ key: "{label}" value: {version} }}'
            for label, version in (labels or {}).get(name, {}).items()
        )
        + " }\n"
        for name, path in base_paths.items()
    )
    path = folder / "models.config"
    beside = path.with_suffix(".new")
    beside.write_text(f"model_config_list {{\n{entries}}}\n")
    return beside.rename(path)
