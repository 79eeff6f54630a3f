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
        (_signature("uint8", (None, None, None, 4)), "uint8 [-1,-1,-1,4]"),
        (_signature("float32", (None, 28, 28)), "float32 [-1,28,28]"),
        (_signature("float32", (28, 28, 3)), "float32 [28,28,3]"),
        (_signature("float32", (None, 784)), "float32 [-1,784]"),
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


def test_every_refusal_says_what_mends_it() -> None:
    """Not the model's inputs: the command that exports others. Not what was told: the setting, alone."""
    with pytest.raises(LayoutError, match="riverlens serving export --help") as caught:
        _choose(odd=_signature("float32", (None, 784)))
    assert "\n" not in str(caught.value)
    told = ModelFacts(kind="classification")
    for wanted in (None, "a"):
        with pytest.raises(LayoutError, match=r"^output_kind: a answers detection_boxes"):
            choose({"a": _signature()}, wanted, told)


@pytest.mark.parametrize(
    ("shape", "size", "text"),
    [
        ((None, 28, 30, 1), (28, 30), "0..1 gray"),
        ((None, 1, 28, 30), (28, 30), "0..1 gray channels first"),
        ((None, None, None, 1), (None, None), "0..1 gray"),
        ((None, 1, 30, 3), (1, 30), "0..1 rgb"),
        ((None, 3, 30, 1), (30, 1), "0..1 rgb channels first"),
    ],
)
def test_one_channel_is_gray(shape: Shape, size: tuple[int | None, int | None], text: str) -> None:
    """One channel, first or last, takes brightness; three anywhere win; means of three do not fit one."""
    signature = {"s": _signature("float32", shape)}
    layout = choose(signature, None, ModelFacts(colour="bgr" if "gray" in text else None))
    assert (layout.height, layout.width, layout.rule.text()) == (*size, text)
    if layout.rule.gray:
        with pytest.raises(LayoutError, match=r"^input_mean: .*one channel"):
            choose(signature, None, ModelFacts(mean=(1.0, 2.0, 3.0)))


def test_a_tensor_without_a_shape_is_the_last_resort() -> None:
    """It may take images where no other signature does; a warning says so, the test image proves it."""
    unknown, known = _signature("float32", None), _signature()
    layout = _choose(serving_default=unknown)
    assert (layout.kind, layout.height, layout.rows) == (InputKind.PIXELS, None, None)
    assert any("tells no shape" in warning for warning in layout.warnings)
    assert _choose(serving_default=unknown, images=known).signature == "images"
    assert _choose(serving_default=unknown, other=unknown).signature == "serving_default"


def _bare(**shapes: Shape) -> dict[str, TensorSpec]:
    return {alias: TensorSpec("float32", shape) for alias, shape in shapes.items()}


SQUEEZED = _bare(
    detection_boxes=(100, 4), detection_scores=(100,), detection_classes=(100,), num_detections=()
)


@pytest.mark.parametrize(
    ("rows", "outputs", "facts", "bare"),
    [
        (1, SQUEEZED, {}, set(SQUEEZED)),
        (None, SQUEEZED, {}, set(SQUEEZED)),
        (1, BOXES | _bare(num_detections=()), {}, {"num_detections"}),
        (1, _bare(output_0=(84, 8400)), {"kind": "detection"}, {"output_0"}),
        (1, _bare(embedding=(128,), score=(1, 5)), {}, {"embedding"}),
        (1, _bare(scores=(10,)), {"kind": "classification"}, {"scores"}),
        (None, _bare(embedding=(128,)), {}, set()),
        (None, BOXES, {}, set()),
        (1, _bare(x=None, y=(None, 3)), {}, set()),
    ],
)
def test_outputs_without_rows_are_of_one_image(
    rows: int | None, outputs: dict[str, TensorSpec], facts: dict[str, Any], bare: set[str]
) -> None:
    """A squeezed export's outputs lack their first dimension: each call holds one image, and is read."""
    spec = _signature("uint8", (rows, 64, 64, 3), outputs)
    layout = choose({"s": spec}, None, ModelFacts(**facts))
    assert set(layout.bare) == bare
    assert layout.rows == (1 if bare else rows)


def test_one_count_for_many_rows_counts_nothing() -> None:
    """A scalar num_detections of a batch says nothing of a row: it is not asked for."""
    outputs = BOXES | _bare(num_detections=())
    assert sorted(choose({"s": _signature(outputs=outputs)}, None, ModelFacts()).outputs) == sorted(BOXES)


def test_what_no_event_can_hold_is_left_out() -> None:
    """Complex or quantised outputs are named in a warning; where there is nothing else, in a refusal."""
    odd = {"x": TensorSpec("complex64", (None,))}
    layout = choose({"s": _signature(outputs=odd | _bare(y=(None, 3)))}, None, ModelFacts())
    assert (layout.outputs, len(layout.warnings)) == (("y",), 1)
    assert "x complex64 [-1]" in layout.warnings[0]
    with pytest.raises(LayoutError, match=r"^signature: s answers x complex64 \[-1\]"):
        choose({"s": _signature(outputs=odd)}, None, ModelFacts())


def test_half_precision_is_a_float() -> None:
    """bfloat16 and float16 pixels and scores are read as other floats are."""
    for dtype in ("float16", "bfloat16"):
        scores = {"scores": TensorSpec(dtype, (None, 10))}
        layout = choose({"s": _signature(dtype, (None, 8, 8, 3), scores)}, None, ModelFacts(labels=NAMES))
        assert (layout.output_kind, layout.rule.text()) == (OutputKind.CLASSES, "0..1 rgb")


def test_layouts_are_alike_whatever_their_labels() -> None:
    """More classes are no other layout, unless labels tell a table's columns; a range or size is one."""
    few, many = ModelFacts(labels=NAMES), ModelFacts(labels=NAMES | {2: "cow"})
    one = {"s": _signature("float32", (None, 8, 8, 3))}
    assert choose(one, None, few).alike(choose(one, None, many))
    assert not choose(one, None, few).alike(choose(one, None, ModelFacts(range=(-1.0, 1.0))))
    assert not choose(one, None, few).alike(choose({"s": _signature()}, None, few))
    table = {"s": _signature(outputs=_bare(t=(None, 6, 2000)))}
    raw = [choose(table, None, ModelFacts(kind="detection").over(each)) for each in (few, many)]
    assert not raw[0].alike(raw[1])


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
