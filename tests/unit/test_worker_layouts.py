"""What metadata cannot say: from facts to numbers in, and from boxes of any form to fractions out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens.signature import (
    LayoutError,
    ModelFacts,
    OutputKind,
    PixelRule,
    SignatureSpec,
    TensorSpec,
    choose,
)
from riverlens.signature.facts import parse_channels, parse_range, read_facts
from riverlens_serving.export.facts import facts
from riverlens_serving.export.plan import ExportPlan, Pixels, Told
from riverlens_worker.decoding import to_row
from riverlens_worker.geometry import letterboxed, stretched, to_fractions
from riverlens_worker.pixels import to_numbers
from riverlens_worker.settings import WorkerSettings
from tests.worker_parts import encode, examples, scene, target

ODD = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
Outputs = dict[str, TensorSpec]


def _tensors(*shapes: tuple[str, tuple[int | None, ...]]) -> Outputs:
    return {alias: TensorSpec("float32", shape) for alias, shape in shapes}


EFFICIENTDET = _tensors(
    ("output_0", (None, 100, 4)),
    ("output_1", (None, 100)),
    ("output_2", (None, 100)),
    ("output_3", (None,)),
)
NMSED = _tensors(
    ("nmsed_boxes", (None, 50, 4)),
    ("nmsed_scores", (None, 50)),
    ("nmsed_classes", (None, 50)),
    ("valid_detections", (None,)),
)


@pytest.mark.parametrize(
    ("outputs", "aliases"),
    [
        (EFFICIENTDET, ("output_0", "output_1", "output_2", "output_3")),
        (NMSED, ("nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections")),
        (
            _tensors(("boxes", (None, 9, 4)), ("labels", (None, 9)), ("confidence", (None, 9))),
            ("boxes", "confidence", "labels"),
        ),
        (_tensors(("boxes", (None, 9, 4)), ("scores", (None, 9, 20))), ("boxes", "scores")),
        (_tensors(("output_0", (1, 84, 8400))), ("output_0",)),
        (_tensors(("output_0", (1, 116, 8400)), ("output_1", (1, 160, 160, 32))), ("output_0",)),
    ],
)
def test_a_told_detector_is_read_by_names_and_shapes(outputs: Outputs, aliases: tuple[str, ...]) -> None:
    """Told the kind, many exports' outputs are made out, and nothing else is fetched; untold, none is."""
    spec = SignatureSpec({"x": TensorSpec("uint8", (None, None, None, 3))}, outputs)
    layout = choose({"s": spec}, None, ModelFacts(kind="detection"))
    assert (layout.output_kind, layout.outputs) == (OutputKind.DETECTIONS, aliases)
    assert choose({"s": spec}, None, ModelFacts()).output_kind is OutputKind.ARRAYS


@pytest.mark.parametrize(
    "outputs",
    [
        _tensors(("a", (None, 10))),
        _tensors(("a", (None, 3, 3))),
        _tensors(("a", (None, 80, 100)), ("b", (None, 80, 100))),
        _tensors(("boxes", (None, 4)), ("scores", (None,)), ("classes", (None,))),
    ],
)
def test_no_detector_is_made_of_anything_else(outputs: Outputs) -> None:
    """What cannot be told apart is refused by the setting's name."""
    spec = SignatureSpec({"x": TensorSpec("uint8", (None, None, None, 3))}, outputs)
    with pytest.raises(LayoutError, match="output_kind=arrays"):
        choose({"s": spec}, None, ModelFacts(kind="detection"))


def test_our_own_exports_are_understood() -> None:
    """Every key and value that the exporter writes is one that the worker reads."""
    pixels = Pixels((40, 30), "bgr", (0, 255), (1, 2, 3), (4, 5, 6))
    told = Told({1: "cat"}, "detection", "pixels_yxyx", "letterbox")
    said = facts(ExportPlan(Path("a"), Path("b"), pixels=pixels, told=told), None, {})
    assert read_facts(json.dumps(said)) == ModelFacts(
        "detection",
        {1: "cat"},
        (40, 30),
        "bgr",
        (0, 255),
        (1, 2, 3),
        (4, 5, 6),
        "letterbox",
        "pixels_yxyx",
    )


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ('{"resize": "crop"}', 'resize "crop"'),
        ('{"range": [0, 0]}', "range [0, 0]"),
        ('{"range": [0, true]}', "range [0, true]"),
        ('{"std": [1, 0, 1]}', "std [1, 0, 1]"),
        ('{"input_size": [0, 5]}', "input_size [0, 5]"),
        ('{"labels": {"a": "b"}}', 'labels {"a": "b"}'),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
    ],
)
def test_what_is_not_understood_is_told(body: str, unknown: str) -> None:
    """A newer exporter's words, or nonsense, become a warning: never an error, never silence."""
    assert read_facts(body) == ModelFacts(unknown=(unknown,))
    assert read_facts('{"author": "somebody"}') == ModelFacts()


def test_settings_win_over_the_models_own_info() -> None:
    """A fact that a setting tells replaces the model's; the others stay."""
    told = ModelFacts(kind="detection", range=(0, 1), labels={1: "cat"})
    both = WorkerSettings(input_range="-1..1", colour="bgr").facts(None).over(told)
    assert (both.kind, both.range, both.colour, both.labels) == ("detection", (-1, 1), "bgr", {1: "cat"})


@pytest.mark.parametrize(
    "flag", ["--input-range=1..1", "--input-mean=1,2", "--input-std=1,0,1", "--boxes=xy"]
)
def test_wrong_facts_name_their_setting(flag: str) -> None:
    """A range without extent, two channels, a division by zero: one line with the setting's name."""
    name = flag[2:].partition("=")[0].replace("-", "_")
    with pytest.raises(SettingsError, match=rf"^{name}: [^\n]+$"):
        load(WorkerSettings, [flag], prog="riverlens worker run")
    assert parse_range("-1..1") == (-1, 1)
    assert parse_channels("0.5,-1,2") == (0.5, -1, 2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (PixelRule(), ODD.astype(float)),
        (PixelRule(high=1.0), ODD / 255),
        (PixelRule(low=-1.0, high=1.0), ODD / 127.5 - 1),
        (PixelRule(low=1.0, high=0.0), 1 - ODD / 255),
        (PixelRule(bgr=True, mean=(1, 2, 3)), ODD[:, :, ::-1] - np.array([1.0, 2, 3])),
        (
            PixelRule(high=1.0, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)),
            (ODD / 255 - [0.5, 0.4, 0.3]) / [0.1, 0.2, 0.3],
        ),
        (PixelRule(high=1.0, planar=True), (ODD / 255).transpose(2, 0, 1)),
    ],
)
def test_pixels_become_the_models_numbers(rule: PixelRule, expected: NDArray[Any], dtype: str) -> None:
    """Range, mean, deviation, channel order and planes, in every float type."""
    found = to_numbers(ODD, dtype, rule)
    assert (found.dtype.name, found.shape, found.flags.c_contiguous) == (dtype, expected.shape, True)
    np.testing.assert_allclose(found, expected, rtol=2e-3 if dtype == "float16" else 1e-5, atol=2e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint16"])
def test_whole_numbers_stay_as_they_are(dtype: str) -> None:
    """0..255 in any integer type, turned round and in planes where the model wants it."""
    found = to_numbers(ODD, dtype, PixelRule(bgr=True, planar=True))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, ODD[:, :, ::-1].transpose(2, 0, 1))


def test_gray_is_the_brightness() -> None:
    """One channel, as Pillow and TensorFlow weigh red, green and blue, in any type, range and layout."""
    luma = np.asarray(Image.fromarray(ODD).convert("L")).astype(float)
    found = to_numbers(ODD, "uint8", PixelRule(gray=True))
    assert (found.shape, found.dtype.name) == ((5, 7, 1), "uint8")
    np.testing.assert_allclose(found[:, :, 0], luma, atol=1)
    planes = to_numbers(ODD, "float32", PixelRule(gray=True, planar=True, low=-1.0, high=1.0))
    assert planes.shape == (1, 5, 7)
    np.testing.assert_allclose(planes[0], luma / 127.5 - 1, atol=0.01)


@pytest.mark.parametrize("rule", [PixelRule(high=1.0), PixelRule(bgr=True, low=-1.0, high=1.0)])
def test_bfloat16_is_the_nearest(rule: PixelRule) -> None:
    """The upper half of each float32, rounded to the nearest, as TensorFlow casts."""
    bits = to_numbers(ODD, "bfloat16", rule)
    assert bits.dtype == np.uint16
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(values, to_numbers(ODD, "float32", rule), rtol=2**-8)


@examples(60)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.tuples(st.integers(1, 99), st.integers(1, 99)))
def test_a_letterboxed_image_fits_in_its_proportions(size: tuple[int, int], fed: tuple[int, int]) -> None:
    """It touches two sides, lies inside and in the middle; a box goes there and comes back."""
    height, width = fed
    place = letterboxed(size, height, width)
    assert place.inner_width == width or place.inner_height == height
    assert 0 <= width - place.inner_width - 2 * place.left <= 1
    assert 0 <= height - place.inner_height - 2 * place.top <= 1
    box = np.array([[0.1, 0.2, 0.7, 0.9]], np.float32)
    inner = np.array([place.inner_width, place.inner_height] * 2)
    pixels = (box * inner + np.array([place.left, place.top] * 2)).astype(np.float32)
    np.testing.assert_allclose(to_fractions(pixels, [place], np.array([0]), in_pixels=True), box, atol=1e-4)
    fractions = (pixels / np.array([width, height] * 2)).astype(np.float32)
    np.testing.assert_allclose(
        to_fractions(fractions, [place], np.array([0]), in_pixels=False), box, atol=1e-4
    )


def test_each_box_goes_back_into_its_own_image() -> None:
    """A call holds images of several sizes, and none, one or many boxes of each."""
    places = [letterboxed(size, 100, 100) for size in ((100, 50), (50, 100), (100, 100))]
    middle = np.array([[0.0, 0.0, 1.0, 0.5]] * 3, np.float32)
    found = to_fractions(middle, places, np.array([2, 0, 0]), in_pixels=False)
    assert found.tolist() == [[0, 0, 1, 0.5], [0, -0.5, 1, 0.5], [0, -0.5, 1, 0.5]]


def test_a_letterboxed_row_holds_the_image_in_gray() -> None:
    """A wide image lies in the middle of a square, upright ones beside it in gray 114, in any range."""
    wanted = target(size=(40, 40), rule=PixelRule(letterbox=True))
    row = to_row(encode(scene(96, 48), "PNG"), None, wanted)
    assert isinstance(row.row, np.ndarray)
    assert (row.row.shape, row.shape, row.size) == ((40, 40, 3), (40, 40), (96, 48))
    assert (row.row[:10] == 114).all()
    assert (row.row[30:] == 114).all()
    assert not (row.row[12:28] == 114).all()
    assert stretched((96, 48), 40, 40, None).inner_height == 40
