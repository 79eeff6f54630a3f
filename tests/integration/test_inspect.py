"""`riverlens serving inspect` tells which models may be batched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from riverlens.cli import main
from riverlens_serving.export.flags import parse
from riverlens_serving.export.run import export
from riverlens_serving.row_check import compare_rows
from riverlens_serving.worker_view import worker_view
from tests import export_sources, models


def _mixing(folder: Path) -> Path:
    """`x` float [N,3] -> `y` [N,3], normalised over the batch at hand."""
    module = tf.Module()
    module.one = tf.Variable(1.0)
    spec = tf.TensorSpec([None, 3], tf.float32, "x")
    run = tf.function(lambda x: {"y": (x - tf.reduce_mean(x, 0)) * module.one}).get_concrete_function(spec)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": run})
    return folder


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            models.mean_colour_detector,
            {
                "encoded_image_string": "3 rows in a call answer as 3 single calls",
                "serving_default": "3 rows in a call answer as 3 single calls",
            },
        ),
        (models.half_plus, {"serving_default": "3 rows in a call answer as 3 single calls"}),
        (
            models.unbatchable,
            {
                "scalar": "cannot be batched: the output y has no row for each row of input",
                "longer": "cannot be batched: the output y has no row for each row of input",
            },
        ),
        (_mixing, {"serving_default": "cannot be batched: rows change each other's y"}),
        (models.defaults, {"serving_default": "a fixed number of rows a call: bias float32 [1]"}),
    ],
)
def test_rows_together_and_alone(make: Any, expected: dict[str, str], tmp_path: Path) -> None:
    """A signature whose rows change each other, or lack an answer each, is told from one that batches."""
    told = dict(line.split(": ", 1) for line in compare_rows(make(tmp_path / "model")))
    assert told.keys() >= expected.keys()
    for signature, verdict in expected.items():
        assert told[signature].startswith(verdict)


def _exported(folder: Path) -> Path:
    labels = folder / "labels.txt"
    labels.write_text("red\ngreen\nblue\n")
    words = ["--input", "encoded", "--range", "0..1", "--labels", str(labels)]
    source = export_sources.saved_model_1(folder)
    return export(parse([str(source), str(folder / "model"), *words], "export")).folder


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            _exported,
            [
                "serving_default takes inputs: encoded images",
                "serving_default answers classes from colour",
                "names 3 classes, 0 is 'red'",
            ],
        ),
        (
            lambda folder: models.mean_colour_detector(folder / "model"),
            [
                "serving_default takes inputs: uint8 pixels, any x any (H x W)",
                "serving_default answers detections (boxes ",
                "names classes class-<id>: the model tells no labels",
            ],
        ),
        (
            lambda folder: models.half_plus(folder / "model"),
            ["refuses it: model: no signature of this model"],
        ),
    ],
)
def test_the_layout_is_the_workers(make: Any, expected: list[str], tmp_path: Path) -> None:
    """By the worker's own rules: what is sent, what the answer is taken for, which names; or why not."""
    lines = list(worker_view(make(tmp_path), None, run_model=True))
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=False)] == expected


def test_inspect_ends_with_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a line `rows:` a signature, and none with --no-run."""
    folder = models.half_plus(tmp_path / "model")
    assert main(["serving", "inspect", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("rows: serving_default: 3 rows")
    assert main(["serving", "inspect", "--no-run", str(folder)]) == 0
    assert "rows:" not in capsys.readouterr().out
