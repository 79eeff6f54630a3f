"""What `riverlens serving export` is asked for, what a path holds, and what a model's signature tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.errors import SettingsError
from riverlens.signature.specs import TensorSpec
from riverlens_serving.export import facts
from riverlens_serving.export.facts import ImageInput
from riverlens_serving.export.flags import parse
from riverlens_serving.export.plan import PREFERRED_ROWS, ExportPlan, Front, Pixels, Told
from riverlens_serving.export.run import export
from riverlens_serving.export.sources import Kind, recognise


def _parse(*flags: str) -> ExportPlan:
    return parse(["source", "model", *flags], "export")


def test_defaults_change_nothing() -> None:
    """Without flags a SavedModel is copied as it is: nothing to tell, nothing before the model."""
    plan = _parse()
    assert (plan.source, plan.model, plan.version) == (Path("source"), Path("model"), None)
    assert not plan.tells
    assert plan.warmup.rows == PREFERRED_ROWS


def test_flags_become_a_plan() -> None:
    """Ranges and means may start with a minus; a size is height by width; labels are read."""
    plan = _parse(
        *("--input", "float32", "--range", "-1..1", "--size", "300x400", "--colour", "bgr"),
        *("--mean", "-1,2,3.5", "--std=1,1,2", "--labels", "coco80", "--kind", "classification"),
        *("--outputs", "scores=a/b:1", "c/d", "--version", "7", "--batch-sizes", "4,1,4"),
    )
    assert plan.front is Front.FLOAT32
    assert plan.pixels == Pixels((300, 400), "bgr", (-1.0, 1.0), (-1.0, 2.0, 3.5), (1.0, 1.0, 2.0))
    assert (plan.told.labels[0], plan.told.kind) == ("person", "classification")
    assert plan.tensors.outputs == (("scores", "a/b:1"), ("d", "c/d:0"))
    assert (plan.version, plan.warmup.rows) == (7, (1, 4))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--range", "1"], "'1' is not a range such as 0..1"),
        (["--range", "1..1"], "'1..1' is not a range"),
        (["--size", "300"], "'300' is not a height and width"),
        (["--mean", "1,2"], "'1,2' is not three numbers"),
        (["--std", "1,0,1"], "pixels are divided by it"),
        (["--input", "uint8", "--resize", "letterbox"], "leave --input out"),
        (["--batch-sizes", "0,1"], "'0,1' is not a list of batch sizes"),
        (["--version", "one"], "'one' is not a version number"),
        (["--input", "jpeg"], "choose from"),
        (["--labels", "nothing.txt"], "labels: nothing.txt cannot be read"),
        (["--batching-parameters-file", "nothing"], "nothing"),
        (["--lables", "coco"], "unrecognized arguments"),
    ],
)
def test_a_wrong_flag_is_one_line(flags: list[str], why: str) -> None:
    """What is wrong and what is expected, in a SettingsError."""
    with pytest.raises(SettingsError, match=why) as refusal:
        _parse(*flags)
    assert "\n" not in str(refusal.value)


def test_batch_sizes_follow_the_servers_file(tmp_path: Path) -> None:
    """The server's allowed sizes win; without them the preferred ones up to its maximum."""
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8")
    assert _parse("--batching-parameters-file", str(path)).warmup.rows == (2, 8)
    path.write_text("max_batch_size { value: 9 }")
    assert _parse("--batching-parameters-file", str(path)).warmup.rows == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("uint8", (None, None, None, 3), ImageInput("uint8", None, None, None, planar=False)),
        ("float32", (1, 224, 192, 3), ImageInput("float32", 1, 224, 192, planar=False)),
        ("float16", (None, 3, 224, 192), ImageInput("float16", None, 224, 192, planar=True)),
        ("int32", (None, None, None, None), ImageInput("int32", None, None, None, planar=False)),
        ("float32", None, ImageInput("float32", None, None, None, planar=False)),
        ("float32", (None, 784), None),
        ("float32", (None, 28, 28, 1), ImageInput("float32", None, 28, 28, planar=False, gray=True)),
        ("uint8", (None, 1, 28, 20), ImageInput("uint8", None, 28, 20, planar=True, gray=True)),
        ("float32", (None, 28, 28, 4), None),
        ("string", (None,), None),
    ],
)
def test_image_inputs_are_told_by_shape(dtype: str, shape: Any, expected: ImageInput | None) -> None:
    """Four dimensions with three channels, or one, at either place are images; anything else is not."""
    assert facts.image_input(TensorSpec(dtype, shape)) == expected


@pytest.mark.parametrize(
    ("outputs", "has_labels", "kind"),
    [
        (dict.fromkeys(facts.DETECTION_OUTPUTS, TensorSpec("float32", None)), False, "detection"),
        ({"y": TensorSpec("float32", (None, 10))}, True, "classification"),
        ({"y": TensorSpec("float32", (None, 10))}, False, "arrays"),
        ({"y": TensorSpec("int64", (None, 10))}, True, "arrays"),
        ({"a": TensorSpec("float32", (None, 10)), "b": TensorSpec("float32", (None, 10))}, True, "arrays"),
    ],
)
def test_kinds_are_never_guessed(outputs: dict[str, TensorSpec], has_labels: bool, kind: str) -> None:  # noqa: FBT001  # a column
    """Detectors show by their names; a table of numbers is a classifier only where classes have names."""
    assert facts.kind_of(outputs, has_labels=has_labels) == kind


@given(st.sampled_from([None, *Front]), st.sampled_from([None, "rgb", "bgr"]))
def test_facts_describe_the_served_input(front: Front | None, colour: str | None) -> None:
    """Behind --input callers always send RGB; without it they are told the model's own colours."""
    plan = ExportPlan(Path("s"), Path("m"), front=front, pixels=Pixels(colour=colour), told=Told({1: "cat"}))
    said = facts.facts(plan, ImageInput("float32", None, 8, 6, planar=False), {})
    assert said["colour"] == ("rgb" if front else colour or "rgb")
    assert (said["input_size"], said["labels"]) == ([8, 6], {"1": "cat"})


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        (None, ["serving_default", "other", "__saved_model_init_op"], "serving_default"),
        (None, ["predict", "riverlens_info", "__saved_model_init_op"], "predict"),
        ("other", ["serving_default", "other"], "other"),
    ],
)
def test_the_signature_meant(wanted: str | None, names: list[str], expected: str) -> None:
    """The one named, else the default, else the only one that is somebody's."""
    assert facts.choose_signature(wanted, names) == expected


def test_several_signatures_need_a_name() -> None:
    """Between two none is taken by guess."""
    with pytest.raises(SettingsError, match="name one with --signature"):
        facts.choose_signature(None, ["a", "b"])


def test_a_folder_of_checkpoints_means_its_latest(tmp_path: Path) -> None:
    """The folder's `checkpoint` file says which; paths of the training machine in it do not matter."""
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-9"\n')
    for name in ("model.ckpt-9.meta", "model.ckpt-9.index"):
        (tmp_path / name).touch()
    source = recognise(tmp_path, None)
    assert source.kind is Kind.META_GRAPH
    assert source == recognise(tmp_path / "model.ckpt-9", None) == recognise(source.path, None)
    assert source.checkpoint == str(tmp_path / "model.ckpt-9")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.tflite", b"TFL3", "TensorFlow Lite keeps no graph"),
        ("model.onnx", b"", "onnx2tf"),
        ("model.pb", b"\xff\xff", "not a TensorFlow graph"),
        ("model.keras", b"junk", "cannot read it"),
        ("model.meta", b"", "model.index is not there"),
        ("model.zip", b"", "no model file by its name"),
        ("nothing", None, "no such file or folder"),
    ],
)
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    """A file that cannot be exported is refused by name with the way there."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=why) as refusal:
        export(ExportPlan(tmp_path / name, tmp_path / "model"))
    assert "\n" not in str(refusal.value)
