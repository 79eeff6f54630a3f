"""The models that a server under contract serves.

`python -m tests.contract.models FOLDER` writes them into FOLDER with a `models.config` beside them, for a
`tensorflow/serving` container that the contract tests are then pointed at. With RIVERLENS_TESTDATA set,
TensorFlow Serving's own test models are among them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import models

CONTRACT_MODELS: Mapping[str, Callable[[Path], Path]] = {
    "half_plus_two": models.half_plus,
    "two_inputs": models.two_inputs,
    "matmul": models.matmul,
    "rank": models.rank,
    "unbatchable": models.unbatchable,
    "echo": models.echo,
    "detector": models.mean_colour_detector,
    "defaults": models.defaults,
    "examples": models.examples,
}
"""Model name -> maker of its only version, 1. The contract tests expect a server of these."""

LABELS = {"half_plus_two": {"stable": 1, "gone": 9}}
"""Model name -> label -> version. 9 is never there: `--allow_version_labels_for_unavailable_models`."""

TESTDATA_MODELS = {
    "default": "saved_model_half_plus_two_cpu",
    "half_plus_three": "saved_model_half_plus_three",
}
"""Model name -> folder of TensorFlow Serving's test models, for its tests' own expectations."""


def make_contract_models(folder: Path, version: int = 1) -> Path:
    """All contract models under `folder`, and the config file that serves them; returns that file."""
    for name, make in CONTRACT_MODELS.items():
        make(folder / name / str(version))
    names = [*CONTRACT_MODELS]
    if testdata := os.environ.get("RIVERLENS_TESTDATA"):
        source = Path(testdata, "tfserving-testdata", "servables", "tensorflow", "testdata")
        for name, original in TESTDATA_MODELS.items():
            shutil.copytree(source / original, folder / name)
        names += TESTDATA_MODELS
    return models.write_model_config(folder, {name: folder / name for name in names}, LABELS)


if __name__ == "__main__":
    sys.stdout.write(f"{make_contract_models(Path(sys.argv[1]))}\n")
