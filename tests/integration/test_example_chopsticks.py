"""The example chopsticks: training, the server, the client, the Kubernetes files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from riverlens_serving.export import check
from tests.examples import EXAMPLES, make, run_script, served

CLIENT, TRAINER = "chopsticks/client.py", "chopsticks/train.py"
NO_ENGINE = "ENGINE="  # whatever this machine has, the tests build no image


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example's models go."""
    return tmp_path_factory.mktemp("chopsticks")


@pytest.fixture(scope="module")
def trained(models: Path) -> str:
    """What `make train_classifier build_image` prints without a container engine."""
    return make("chopsticks", "train_classifier", "build_image", NO_ENGINE, f"MODELS={models}")


@pytest.fixture(scope="module")
def address(models: Path, trained: str) -> Iterator[str]:
    """`make run_server` without a container engine: the embedded server."""
    assert trained
    with served(models / "log", "chopsticks", "run_server", NO_ENGINE, f"MODELS={models}") as where:
        yield where


def test_training_tells_its_accuracy_beside_the_commonest_class(trained: str) -> None:
    """On rows held out the classifier is far better than always naming the commonest class."""
    match = re.search(r"held out: (\d+) rows, accuracy (\d\.\d+); always \w+, .*: (\d\.\d+)\n", trained)
    assert match is not None, trained
    assert int(match[1]) == 31
    assert float(match[2]) >= float(match[3]) + 0.2
    assert "made up by this script" in trained
    assert "no container engine" in trained


def _probabilities(printed: str) -> list[float]:
    match = re.fullmatch(r"classes_prob: low (\S+), medium (\S+), high (\S+)\n", printed)
    assert match is not None, printed
    return [float(value) for value in match.groups()]


@pytest.mark.parametrize(("individual", "length"), [("10", "240.0"), ("10", "10.0"), ("999", "240")])
def test_the_client_prints_the_classes_probabilities(
    address: str,
    individual: str,
    length: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known or not, an individual and a length get probabilities; a length out of range is said to be."""
    assert run_script(monkeypatch, CLIENT, address, individual, length) == 0
    printed = capsys.readouterr()
    assert sum(_probabilities(printed.out)) == pytest.approx(1, abs=1e-3)
    assert ("outside 180 to 330 mm" in printed.err) == (length == "10.0")


def test_the_classify_signature_says_the_same(models: Path, address: str) -> None:
    """`classify` reads tf.Examples and names the classes of `serving_default`'s probabilities."""
    assert address
    model = check.load_for_check(models / "chopsticks" / "1")
    signatures = model.signature_defs
    assert signatures["classify"].method_name == "tensorflow/serving/classify"
    columns = {"chopstick_length": np.array([[180.0]], np.float32), "individual": np.array([[7]])}
    expected = check.run(model, signatures["serving_default"], columns)["classes_prob"]
    answer = check.run(model, signatures["classify"], {"inputs": check.encoded_rows([_example(7, 180.0)])})
    model.session.close()
    assert answer["classes"].tolist() == [[b"low", b"medium", b"high"]]
    assert answer["scores"] == pytest.approx(expected)


def _example(individual: int, length: float) -> bytes:
    features = {
        "individual": tf.train.Feature(int64_list=tf.train.Int64List(value=[individual])),
        "chopstick_length": tf.train.Feature(float_list=tf.train.FloatList(value=[length])),
    }
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def test_a_table_of_measurements_and_lengths_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CSV with its columns in any order trains; --length-only leaves the individual out."""
    rows = [
        f"{someone},{length},{30 - abs(length - 240) / 20 + someone % 3}"
        for someone in range(1, 9)
        for length in (180, 210, 240, 270, 300, 330)
    ]
    table = tmp_path / "table.csv"
    table.write_text("Individual,Chopstick.Length,Food.Pinching.Efficiency\n" + "\n".join(rows) + "\n")
    argv = (tmp_path / "saved", f"--table={table}", "--length-only")
    assert run_script(monkeypatch, TRAINER, *argv) == 0
    assert f"trained on 40 rows of {table}" in capsys.readouterr().out
    model = check.load_for_check(tmp_path / "saved")
    signature = model.signature_defs["serving_default"]
    lengths = np.array([[180.0], [240.0]], np.float32)
    probabilities = check.run(model, signature, {"chopstick_length": lengths})["classes_prob"]
    model.session.close()
    assert list(signature.inputs) == ["chopstick_length"]
    assert probabilities[:, 0].argmax() == 0
    assert probabilities[:, 2].argmax() == 1


def test_a_table_without_its_columns_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the file and the column that is missing."""
    table = tmp_path / "table.csv"
    table.write_text("who,length,efficiency\n1,2,3\n")
    assert run_script(monkeypatch, TRAINER, tmp_path / "saved", f"--table={table}") == 2
    assert f"train: {table}: needs one column whose name holds 'individual'" in capsys.readouterr().err


def _kubernetes() -> dict[str, Any]:
    text = (EXAMPLES / "chopsticks" / "kubernetes" / "chopsticks.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_kubernetes_runs_three_behind_a_load_balancer() -> None:
    """Three replicas, ready when the metadata page answers; the Service finds them by label and port name."""
    files = _kubernetes()
    deployment, service = files["Deployment"]["spec"], files["Service"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert deployment["replicas"] == 3
    probe = container["readinessProbe"]["httpGet"]
    assert probe == {"path": "/v1/models/chopsticks/metadata", "port": 8501}
    assert service["type"] == "LoadBalancer"
    assert service["selector"] == deployment["template"]["metadata"]["labels"]
    assert {port["targetPort"] for port in service["ports"]} == {port["name"] for port in container["ports"]}


def test_the_image_holds_what_was_trained() -> None:
    """The Dockerfile copies the exported model to where the server's image looks for it by name."""
    lines = (EXAMPLES / "chopsticks" / "Dockerfile").read_text().splitlines()
    assert "COPY ${MODELS}/chopsticks /models/chopsticks" in lines
    assert "ENV MODEL_NAME=chopsticks" in lines


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_without_an_engine_the_server_says_so() -> None:
    """`make -n run_server` shows the message and the embedded server's command."""
    plan = make("chopsticks", "-n", "run_server", NO_ENGINE)
    assert "no container engine" in plan
    assert "riverlens serving run" in plan
