"""The worker's container image: what it holds, assembled from the installed packages without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from scripts.image_packages import message_modules, pin, requirements, write_modules
from tests.container_files import needed

ROOT = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(str(distribution("protobuf").locate_file("")))

PROGRAM = """
import json, sys
import riverlens_worker.tensors
from riverlens_worker import _stubs
request = _stubs.PredictRequest()
request.model_spec.name = "street"
request.inputs["images"].dtype = _stubs.types_pb2.DT_UINT8
request.inputs["images"].tensor_content = bytes(12)
again = _stubs.PredictRequest.FromString(request.SerializeToString())
loaded = [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras")]
print(json.dumps({"model": again.model_spec.name, "loaded": loaded, "libraries": [
    path for path in sys.modules if path.startswith("tensorflow.python")]}))
"""


def _read(path: str) -> str | None:
    file = SITE_PACKAGES / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


@pytest.fixture(scope="module")
def packages() -> dict[str, Distribution]:
    """What the image's environment holds beside riverlens and TensorFlow's messages."""
    return {
        **needed(requirements("worker")),
        "tensorflow-serving-api": distribution("tensorflow-serving-api"),
    }


@pytest.fixture
def image(tmp_path: Path, packages: dict[str, Distribution]) -> Path:
    """A site-packages folder like the image's: the role's packages, the messages, riverlens."""
    site = tmp_path / "site-packages"
    write_modules(message_modules(_read), site)
    names = {
        file.parts[0]
        for package in packages.values()
        for file in package.files or []
        if file.parts[0] != ".."
    }
    for name in names - {"__pycache__", "bin"}:
        (site / name).symlink_to(SITE_PACKAGES / name)
    (site / "riverlens").symlink_to(ROOT / "riverlens")
    (site / "riverlens_worker").symlink_to(ROOT / "worker" / "riverlens_worker")
    return site


def test_the_worker_builds_a_request_without_tensorflow(image: Path) -> None:
    """With 30 small files in TensorFlow's place, the stubs import and a PredictRequest is built and read."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(image)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"model": "street", "loaded": [], "libraries": []}


def test_only_generated_messages_are_taken_from_tensorflow() -> None:
    """What is copied is generated modules and the empty files of their folders: no library, under 200 kB."""
    files = message_modules(_read)
    odd = [path for path, text in files.items() if not path.endswith("_pb2.py") and text.strip()]
    assert odd == []
    assert "tensorflow/__init__.py" not in files
    assert sum(len(text) for text in files.values()) < 200_000


def test_tensorflow_is_not_brought_along(packages: dict[str, Distribution]) -> None:
    """What the worker requires brings neither TensorFlow nor Keras; test_images.py weighs the rest."""
    assert len(packages) >= 20
    assert not {"tensorflow", "keras", "h5py"} & set(packages)


@pytest.mark.parametrize("package", ["tensorflow", "tensorflow-serving-api"])
def test_what_the_image_installs_by_name_is_pinned(package: str) -> None:
    """The versions that the image takes messages from are those of constraints.txt."""
    assert pin(package) == f"{package}=={distribution(package).version}"
