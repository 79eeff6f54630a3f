"""The example digits from training to `Inference error rate`."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from riverlens_serving.export import check
from tests.examples import make, run_script, served
from tests.model_servers import model_server

CLIENT = "digits/digits_client.py"


def _error_rate(printed: str) -> float:
    match = re.fullmatch(r"Inference error rate: (\d+\.\d)%\n", printed)
    assert match is not None, printed
    return float(match[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/` and `data/` of a run without MNIST."""
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The first of the README's two commands, without MNIST."""
    words = ("serve", f"MODELS={folder / 'models'}", f"DATA={folder / 'data'}")
    with served(folder / "server.log", "digits", *words) as where:
        yield where


def test_rendered_digits_are_read(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On digits drawn with a font the classifier stays below the 5 % that the README allows."""
    argv = ("--num_tests=1000", f"--server={address}", f"--mnist={folder / 'data'}")
    assert run_script(monkeypatch, CLIENT, *argv) == 0
    assert _error_rate(capsys.readouterr().out) <= 5


@pytest.mark.usefixtures("address")
def test_both_signatures_say_the_same(folder: Path) -> None:
    """`serving_default` classifies tf.Examples, best class first, with the scores of `predict_images`."""
    model = check.load_for_check(folder / "models" / "mnist" / "1")
    signatures = model.signature_defs
    assert signatures["serving_default"].method_name == "tensorflow/serving/classify"
    images = np.random.default_rng(0).uniform(0, 1, (3, 784)).astype(np.float32)
    examples = check.encoded_rows([_example(image) for image in images])
    scores = check.run(model, signatures["predict_images"], {"images": images})["scores"]
    answer = check.run(model, signatures["serving_default"], {"inputs": examples})
    model.session.close()
    best = [int(row[0]) for row in answer["classes"]]
    assert best == scores.argmax(axis=1).tolist()
    assert answer["scores"] == pytest.approx(-np.sort(-scores, axis=1))


def _example(pixels: np.ndarray) -> bytes:
    values = tf.train.Feature(float_list=tf.train.FloatList(value=pixels.tolist()))
    return bytes(tf.train.Example(features=tf.train.Features(feature={"x": values})).SerializeToString())


def test_wrong_addresses_and_folders_are_one_line(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No server there: exit code 1; no digits there: 2."""
    data = f"--mnist={folder / 'data'}"
    assert run_script(monkeypatch, CLIENT, "--server=127.0.0.1:1", data) == 1
    assert "127.0.0.1:1: UNAVAILABLE" in capsys.readouterr().err
    assert run_script(monkeypatch, CLIENT, f"--server={address}", "--mnist=nowhere") == 2
    assert "--mnist" in capsys.readouterr().err


def test_broken_files_and_no_images_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file cut off, files of unlike length, no image asked for: one line each, and nothing is asked."""
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(bytes(8 + 3))
    for name, content, words, said in (
        ("t10k-images-idx3-ubyte.gz", gzip.compress(bytes(16 + 3 * 784))[:-9], (), "--mnist"),
        ("t10k-images-idx3-ubyte", bytes(16 + 100), (), "--mnist"),
        ("t10k-images-idx3-ubyte", bytes(16 + 2 * 784), (), "of 2 images"),
        ("t10k-images-idx3-ubyte", bytes(16 + 3 * 784), ("--num_tests=0",), "--num_tests=0"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert run_script(monkeypatch, CLIENT, f"--mnist={tmp_path}", "--server=127.0.0.1:1", *words) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        path.unlink()


@pytest.mark.realdata
def test_mnist_by_the_tutorials_recipe(
    testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained and served by the example, the first 1000 test digits of MNIST give 8 to 12 % of errors."""
    mnist = testdata / "mnist"
    make("digits", "train", f"MNIST={mnist}", f"MODELS={tmp_path}")
    with served(tmp_path / "server.log", "digits", "serve", f"MODELS={tmp_path}") as where:
        argv = ("--num_tests=1000", f"--server={where}", f"--mnist={mnist}")
        assert run_script(monkeypatch, CLIENT, *argv) == 0
    assert 8 <= _error_rate(capsys.readouterr().out) <= 12


@pytest.mark.realdata
def test_the_tutorials_own_export(
    testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client counts 10.4 % on the model that TensorFlow Serving's tutorial wrote."""
    base = testdata / "models" / "mnist_tfserving_tutorial"
    with model_server(tmp_path / "log", "--model_name=mnist", f"--model_base_path={base}") as server:
        argv = ("--num_tests=1000", f"--server={server.address}", f"--mnist={testdata / 'mnist'}")
        assert run_script(monkeypatch, CLIENT, *argv) == 0
    assert _error_rate(capsys.readouterr().out) == 10.4
