"""`riverlens serving inspect` tells which models may be batched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from riverlens.cli import main
from riverlens_serving.row_check import compare_rows
from tests import models


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


def test_inspect_ends_with_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a line `rows:` a signature, and none with --no-run."""
    folder = models.half_plus(tmp_path / "model")
    assert main(["serving", "inspect", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("rows: serving_default: 3 rows")
    assert main(["serving", "inspect", "--no-run", str(folder)]) == 0
    assert "rows:" not in capsys.readouterr().out
