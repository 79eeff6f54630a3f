"""From metadata to a layout: many signatures, each fed rightly or refused in words that help."""

from __future__ import annotations

import re
from typing import Any

import pytest

from riverlens.signature import (
    INFO_SIGNATURE,
    InputKind,
    Layout,
    LayoutError,
    ModelFacts,
    OutputKind,
    SignatureSpec,
    TensorSpec,
    choose,
)

Shape = tuple[int | None, ...] | None
PREDICT = "tensorflow/serving/predict"
BOXES = {
    "detection_boxes": TensorSpec("float32", (None, 100, 4)),
    "detection_scores": TensorSpec("float32", (None, 100)),
    "detection_classes": TensorSpec("float32", (None, 100)),
}
COUNT = {"num_detections": TensorSpec("float32", (None,))}
RAW = {"raw_detection_boxes": TensorSpec("float32", (None, 1917, 4))}
NAMES = {0: "cat", 1: "dog"}
SOFTMAX = {"scores": TensorSpec("float32", (None, 1000))}


def _signature(
    dtype: str = "uint8",
    shape: Shape = (None, None, None, 3),
    outputs: dict[str, TensorSpec] | None = None,
    alias: str = "images",
    method: str = PREDICT,
) -> SignatureSpec:
    return SignatureSpec({alias: TensorSpec(dtype, shape)}, BOXES if outputs is None else outputs, method)


def _choose(wanted: str | None = None, /, **signatures: SignatureSpec) -> Layout:
    return choose(signatures, wanted, ModelFacts())


@pytest.mark.parametrize(
    ("dtype", "shape", "kind", "size", "single"),
    [
        ("uint8", (None, None, None, 3), InputKind.PIXELS, (None, None), False),
        ("uint8", (None, 320, 240, 3), InputKind.PIXELS, (320, 240), False),
        ("float32", (None, 224, 224, 3), InputKind.PIXELS, (224, 224), False),
        ("float32", (None, 224, None, None), InputKind.PIXELS, (224, None), False),
        ("uint8", (1, None, None, 3), InputKind.PIXELS, (None, None), True),
        ("string", (None,), InputKind.ENCODED, (None, None), False),
        ("string", (1,), InputKind.ENCODED, (None, None), True),
        ("string", None, InputKind.ENCODED, (None, None), False),
    ],
)
def test_image_inputs_are_recognised(
    *, dtype: str, shape: Shape, kind: InputKind, size: tuple[int | None, int | None], single: bool
) -> None:
    """Encoded bytes or pixels, of a fixed or free size, one or many a call: all from the metadata."""
    layout = _choose(serving_default=_signature(dtype, shape))
    assert (layout.kind, layout.dtype, layout.rows == 1) == (kind, dtype, single)
    assert (layout.height, layout.width) == size
    assert (layout.signature, layout.alias) == ("serving_default", "images")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (_signature(method="tensorflow/serving/classify"), "classify"),
        (_signature(method="tensorflow/serving/regress"), "regress"),
        (_signature("string", (None,), alias="tf_example"), "tf.Example"),
        (_signature("string", (None,), alias="examples"), "tf.Example"),
        (_signature("string", ()), "string []"),
        (_signature("string", (None, None)), "string [-1,-1]"),
        (_signature("uint8", (None, None, None, 1)), "uint8 [-1,-1,-1,1]"),
        (_signature("float32", (None, 784)), "float32 [-1,784]"),
        (_signature("float32", None), "unknown rank"),
        (_signature("float32", ()), "float32 []"),
        (_signature("int8", (None, None, None, 3)), "int8"),
        (SignatureSpec({}, BOXES), "0 inputs (nothing)"),
        (
            SignatureSpec({"b": TensorSpec("uint8", (None,)), "a": TensorSpec("string", ())}, BOXES),
            "2 inputs (a string [], b uint8 [-1])",
        ),
    ],
)
def test_what_takes_no_images_is_refused_by_name(spec: SignatureSpec, text: str) -> None:
    """The error names the signature, what it takes instead and the setting, asked for or found."""
    with pytest.raises(LayoutError, match=r"^signature: .*odd.*" + re.escape(text)):
        _choose("odd", odd=spec, good=_signature())
    with pytest.raises(LayoutError, match=r"^model: .*odd.*" + re.escape(text)):
        _choose(odd=spec)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("serving_default", "encoded"), "serving_default"),
        (("encoded",), "encoded"),
        (("encoded", "__saved_model_init_op"), "encoded"),
        (("serving_default", INFO_SIGNATURE), "serving_default"),
        (("a", INFO_SIGNATURE, "__b"), "a"),
    ],
)
def test_the_default_or_the_only_image_signature_is_chosen(names: tuple[str, ...], chosen: str) -> None:
    """Names that begin with two underscores and `riverlens_info` are no candidates."""
    assert _choose(**{name: _signature() for name in names}).signature == chosen


def test_a_default_that_takes_no_images_gives_way() -> None:
    """A classify signature named serving_default, as in tutorials, does not hide the one that fits."""
    layout = _choose(
        serving_default=_signature(method="tensorflow/serving/classify"), predict_images=_signature()
    )
    assert layout.signature == "predict_images"


@pytest.mark.parametrize(
    ("wanted", "names", "text"),
    [
        ("typo", ("a", "b"), "no signature 'typo'; it has a, b"),
        ("__init", ("__init",), "no signature '__init'; it has none"),
        (INFO_SIGNATURE, (INFO_SIGNATURE, "a"), "it has a"),
        (None, ("a", "b"), r"several take images \(a, b\); name one with --signature"),
        (None, (), "no signature of this model takes images: it has none"),
        (None, ("__init", INFO_SIGNATURE), "it has none"),
    ],
)
def test_no_choice_is_explained(wanted: str | None, names: tuple[str, ...], text: str) -> None:
    """A name that is not there, several that fit, or none: the error lists what there is, and the setting."""
    with pytest.raises(LayoutError, match=r"^(signature|model): .*" + text):
        _choose(wanted, **{name: _signature() for name in names})


@pytest.mark.parametrize(
    ("outputs", "context", "kind", "fetched"),
    [
        (BOXES, {}, OutputKind.DETECTIONS, sorted(BOXES)),
        (BOXES | COUNT | RAW, {}, OutputKind.DETECTIONS, sorted(BOXES | COUNT)),
        (SOFTMAX, {"labels": NAMES}, OutputKind.CLASSES, ["scores"]),
        (SOFTMAX, {"kind": "classification"}, OutputKind.CLASSES, ["scores"]),
        (SOFTMAX, {}, OutputKind.ARRAYS, ["scores"]),
        (SOFTMAX | COUNT, {"labels": NAMES}, OutputKind.ARRAYS, ["num_detections", "scores"]),
        ({"x": TensorSpec("int64", (None, 5))}, {"labels": NAMES}, OutputKind.ARRAYS, ["x"]),
        ({"x": TensorSpec("float32", None)}, {"labels": NAMES}, OutputKind.ARRAYS, ["x"]),
        ({"x": TensorSpec("float32", (None, 2, 2))}, {"labels": NAMES}, OutputKind.ARRAYS, ["x"]),
        ({}, {}, OutputKind.ARRAYS, []),
    ],
)
def test_outputs_are_taken_for_what_they_are(
    outputs: dict[str, TensorSpec], context: dict[str, Any], kind: OutputKind, fetched: list[str]
) -> None:
    """Only what is read is fetched: an object detection model's raw boxes are megabytes an image."""
    layout = choose({"s": _signature(outputs=outputs)}, None, ModelFacts(**context))
    assert layout.output_kind is kind
    assert sorted(layout.outputs) == fetched
