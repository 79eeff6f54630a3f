"""The example object_detection from a frozen graph to drawn boxes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.examples import run_script, served

CLIENT = "object_detection/client.py"
RED, BLUE = (255, 0, 0), (0, 0, 255)
v1 = tf.compat.v1


def _frozen_detector(path: Path) -> Path:
    """A graph with the Object Detection API's names: a box in the middle, class by the brightest channel."""
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.uint8, [None, None, None, 3], "image_tensor")
        colours = tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) / 255
        count = tf.shape(colours)[0]
        tf.tile(tf.constant([[[0.25, 0.25, 0.75, 0.75]]]), [count, 1, 1], name="detection_boxes")
        tf.cast(tf.argmax(colours, 1)[:, None] + 1, tf.float32, name="detection_classes")
        tf.reduce_max(colours, 1, keepdims=True, name="detection_scores")
        tf.ones([count], name="num_detections")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The first of the README's two commands, on a tiny detector."""
    folder = tmp_path_factory.mktemp("detector")
    labels = folder / "labels.txt"
    labels.write_text("???\nred thing\ngreen thing\nblue thing\n")
    graph = _frozen_detector(folder / "graph.pb")
    words = ("serve", f"GRAPH={graph}", f"LABELS={labels}", f"MODELS={folder / 'models'}")
    with served(folder / "server.log", "object_detection", *words) as where:
        yield where


def _picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (80, 60)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_the_client_prints_and_draws(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures of two sizes over two servers: boxes, classes, scores, printed and drawn into a new folder."""
    pictures = [
        _picture(tmp_path / "a.png", RED),
        _picture(tmp_path / "b.png", BLUE),
        _picture(tmp_path / "c.png", BLUE, (40, 40)),
    ]
    where = (f"--server={address},{address}", f"--output={tmp_path / 'found'}")
    assert run_script(monkeypatch, CLIENT, *pictures, *where) == 0
    printed = capsys.readouterr().out
    for heading in ("detection_boxes", "detection_classes", "detection_scores"):
        assert printed.count(heading) == 3
    assert printed.count("0.2500  0.2500  0.7500  0.7500") == 3
    assert (printed.count("1 red thing"), printed.count("3 blue thing")) == (1, 2)
    with Image.open(tmp_path / "found" / "a-detections.png") as drawn:
        assert drawn.size == (80, 60)
        changed = np.any(np.asarray(drawn) != RED, axis=-1)
    assert changed[45, 20:60].all()
    assert not changed[:10].any() or changed[:15, 20:].any()
    assert not changed[50:].any()


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client ends with 1 and says which server failed it."""
    picture = _picture(tmp_path / "a.png", RED)
    assert run_script(monkeypatch, CLIENT, picture, "--server=127.0.0.1:1") == 1
    error = capsys.readouterr().err
    assert error.startswith("client: 127.0.0.1:1: UNAVAILABLE")
    assert error.count("\n") == 1


def test_a_server_that_is_down_leaves_its_turn_to_the_next(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures of two sizes for two servers, either one down: both are answered, and it is said."""
    pictures = [_picture(tmp_path / "a.png", RED), _picture(tmp_path / "b.png", BLUE, (90, 50))]
    for servers in (f"127.0.0.1:1, {address},", f"{address},127.0.0.1:1"):
        where = (f"--server={servers}", f"--output={tmp_path / 'found'}")
        assert run_script(monkeypatch, CLIENT, *pictures, *where) == 0
        told = capsys.readouterr()
        assert told.out.count(f"answered by {address}") == 2
        assert f"asking {address}" in told.err


@pytest.mark.realdata
def test_the_coco_detector_finds_what_it_is_known_to_find(
    testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The frozen COCO graph, exported and served by the example, finds the known objects of a photo."""
    graph = testdata / "models" / "ssd_mobilenet_v1_coco_frozen" / "frozen_inference_graph.pb"
    name, expected = next(iter(json.loads((testdata / "images" / "detections.json").read_text()).items()))
    words = ("serve", f"GRAPH={graph}", f"MODELS={tmp_path}")
    with served(tmp_path / "server.log", "object_detection", *words) as where:
        photo = testdata / "images" / name
        assert run_script(monkeypatch, CLIENT, photo, f"--server={where}", f"--output={tmp_path}") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  0")]
    known = [found for found in expected["detections"] if found["score"] >= 0.5]
    assert len(rows) == len(known) > 0
    for row, found in zip(rows, known, strict=True):
        assert [float(edge) for edge in row[:4]] == pytest.approx(found["box"], abs=0.01)
        assert int(row[4]) == found["cls"]
        assert float(row[-1]) == pytest.approx(found["score"], abs=0.01)
