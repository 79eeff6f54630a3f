"""Every form of model becomes a version that a model server runs: preprocessing and labels inside."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from riverlens.cli import main
from riverlens.errors import RiverlensError, SettingsError
from riverlens_serving.export import check
from riverlens_serving.export.flags import parse
from riverlens_serving.export.run import export
from tests import export_sources
from tests.export_sources import SIZE, SOURCES

ORANGE = (255, 128, 51)
pytestmark = [
    # h5py and Keras' legacy format say so in warnings; they are what is under test.
    pytest.mark.filterwarnings("ignore::UserWarning:keras.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each form of the model, written once."""
    folder = tmp_path_factory.mktemp("sources")
    return {form: write(folder) for form, write in SOURCES.items()}


def _picture(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, ORANGE).save(path)
    return path


def _png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, ORANGE).save(buffer, "PNG")
    return buffer.getvalue()


def _export(*argv: object) -> Path:
    return export(parse([str(word) for word in argv], "export")).folder


def _answers(folder: Path, signature: str, **feeds: Any) -> dict[str, Any]:
    model = check.load_for_check(folder)
    try:
        return dict(check.run(model, model.signature_defs[signature], feeds))
    finally:
        model.session.close()


def _said(folder: Path) -> Any:
    (answer,) = _answers(folder, "riverlens_info", key=check.encoded_rows([b""]))["json"]
    return json.loads(answer)


def _as_list(values: Any) -> list[float]:
    return [round(float(value), 3) for value in np.ravel(values)]


@pytest.mark.parametrize("form", SOURCES)
def test_every_form_takes_encoded_images(form: str, made: dict[str, Path], tmp_path: Path) -> None:
    """Pictures of two sizes in one call are decoded, resized and scaled to -1..1 inside the graph."""
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nblue\n")
    version = _export(
        made[form], tmp_path / "model", "--input", "encoded", "--range", "-1..1", "--labels", labels
    )
    assert version == tmp_path / "model" / "1"
    rows = check.encoded_rows([_png((40, 30)), _png((9, 16))])
    (answer,) = _answers(version, "serving_default", inputs=rows).values()
    assert answer == pytest.approx(np.array([np.array(ORANGE) / 127.5 - 1] * 2), abs=1e-5)
    assert _said(version) == {
        "kind": "classification",
        "labels": {"0": "red", "1": "green", "2": "blue"},
        "input_size": [SIZE, SIZE],
        "colour": "rgb",
        "resize": "stretch",
    }


@pytest.mark.parametrize("form", SOURCES)
def test_every_form_is_served_as_it_is_without_flags(
    form: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """Without flags the model takes what it took."""
    version = _export(made[form], tmp_path / "model")
    model = check.load_for_check(version)
    (alias,) = model.signature_defs["serving_default"].inputs
    model.session.close()
    image = np.broadcast_to(np.array(ORANGE, np.float32), (2, SIZE, SIZE, 3)).copy()
    (answer,) = _answers(version, "serving_default", **{alias: image}).values()
    assert answer == pytest.approx(np.array([ORANGE] * 2))
    assert not (version / "variables").is_dir() or any((version / "variables").iterdir())


@pytest.mark.parametrize(("front", "image"), [("uint8", ORANGE), ("float32", np.array(ORANGE) / 255)])
@pytest.mark.parametrize("form", ["TF1 SavedModel", "TF2 SavedModel"])
def test_pixels_of_any_size_are_prepared(
    form: str, front: str, image: Any, made: dict[str, Path], tmp_path: Path
) -> None:
    """--input uint8 and float32 take RGB of any size; colours, means and deviations are the graph's work."""
    flags = ("--colour", "bgr", "--range", "0..255", "--mean", "51,8,5", "--std", "1,2,10")
    version = _export(made[form], tmp_path / "model", "--input", front, *flags)
    given = np.broadcast_to(np.array(image, front), (1, 20, 30, 3)).copy()
    (answer,) = _answers(version, "serving_default", inputs=given).values()
    assert answer == pytest.approx(np.array([[0.0, 60.0, 25.0]]), abs=1e-3)
    assert _said(version)["colour"] == "rgb"
    assert _said(version)["range"] == ([0, 255] if front == "uint8" else [0, 1])


def test_what_the_caller_has_to_do_is_told(made: dict[str, Path], tmp_path: Path) -> None:
    """Without --input the preprocessing is left to the caller, and `riverlens_info` tells it."""
    flags = ("--colour", "bgr", "--range", "0..255", "--mean", "103.9,116.8,123.7", "--resize", "letterbox")
    said = _said(_export(made["TF1 SavedModel"], tmp_path / "model", *flags))
    assert said == {
        "kind": "arrays",
        "input_size": [SIZE, SIZE],
        "colour": "bgr",
        "range": [0, 255],
        "mean": [103.9, 116.8, 123.7],
        "resize": "letterbox",
    }


def test_signatures_that_share_the_input_still_run(made: dict[str, Path], tmp_path: Path) -> None:
    """Another signature of the same placeholder is fed behind the preprocessing, as before."""
    version = _export(made["TF1 SavedModel"], tmp_path / "model", "--input", "uint8", "--range", "0..1")
    image = np.full((1, SIZE, SIZE, 3), 7, np.float32)
    assert _as_list(_answers(version, "again", image=image)["colour"]) == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("form", ["TF1 SavedModel", "TF2 SavedModel"])
def test_decoding_and_resizing_are_pinned_to_the_cpu(
    form: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """Every image operation of the graph and its functions names the CPU as its device."""
    version = _export(made[form], tmp_path / "model", "--input", "encoded", "--range", "0..1")
    saved = tf.compat.v1.saved_model
    with tf.compat.v1.Session(graph=tf.Graph()) as session, session.graph.as_default():
        graph = saved.load(session, ["serve"], str(version)).graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    devices = {node.device for node in nodes if node.op in {"DecodeImage", "ResizeBilinear"}}
    assert devices == {"/device:CPU:0"}


def test_a_training_graph_is_refused_with_its_reason(tmp_path: Path) -> None:
    """A meta graph with an optimiser is no model to serve; the line names the operation and the remedy."""
    meta = export_sources.checkpoint(tmp_path, training=True)
    with pytest.raises(SettingsError, match=r"a training graph: .*\(ApplyGradientDescent\)") as refusal:
        _export(meta, tmp_path / "model")
    assert "export_meta_graph" in str(refusal.value)
    assert list((tmp_path / "model").iterdir()) == []


def test_an_inference_graph_takes_the_training_runs_weights(made: dict[str, Path], tmp_path: Path) -> None:
    """--checkpoint gives an inference meta graph the weights that training wrote under another name."""
    training = export_sources.checkpoint(tmp_path, training=True)
    version = _export(made["checkpoint"], tmp_path / "model", "--checkpoint", training.with_suffix(""))
    image = np.ones((1, SIZE, SIZE, 3), np.float32)
    assert _as_list(_answers(version, "serving_default", image=image)["colour"]) == [1.0, 1.0, 1.0]


def test_the_keras_3_trap_is_caught_before_the_rename(tmp_path: Path) -> None:
    """A SavedModel that only TensorFlow 2 can run becomes no version."""
    model = export_sources.keras_model()

    class Holder(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, "image")])  # type: ignore[untyped-decorator]  # no types
        def serve(self, image: Any) -> dict[str, Any]:
            return {"colour": self.model(image)}

    holder = Holder()
    tf.saved_model.save(holder, str(tmp_path / "trap"), signatures={"serving_default": holder.serve})
    with pytest.raises(RiverlensError, match=r"FAILED_PRECONDITION.*save \.keras and export that file"):
        _export(tmp_path / "trap", tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_versions_count_up_and_are_never_replaced(made: dict[str, Path], tmp_path: Path) -> None:
    """Each export is one above the highest; a number that is there is refused, and names the next."""
    for expected in ("1", "2"):
        assert _export(made["frozen graph"], tmp_path / "model").name == expected
    assert _export(made["frozen graph"], tmp_path / "model", "--version", 12).name == "12"
    with pytest.raises(SettingsError, match="the next free one is 13"):
        _export(made["frozen graph"], tmp_path / "model", "--version", "2")


def test_a_version_survives_git(made: dict[str, Path], tmp_path: Path) -> None:
    """No empty folder is needed: what git would keep of a model of constants loads."""
    version = _export(made["frozen graph"], tmp_path / "model")
    assert all(any(path.iterdir()) for path in version.rglob("*") if path.is_dir())


def _records(path: Path) -> Iterator[Any]:
    for record in tf.compat.v1.io.tf_record_iterator(str(path)):
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


def test_warm_up_requests_come_from_real_images(made: dict[str, Path], tmp_path: Path) -> None:
    """One request for each allowed batch size, of the pictures given, in TensorFlow Serving's file."""
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 3 } allowed_batch_sizes: 1 allowed_batch_sizes: 3")
    pictures = [_picture(tmp_path / "a.png"), _picture(tmp_path / "b.jpg", (20, 20))]
    version = _export(
        made["frozen graph"],
        tmp_path / "colour",
        *("--input", "encoded", "--range", "0..1", "--batching-parameters-file", parameters),
        *("--warmup", *pictures),
    )
    requests = list(_records(version / "assets.extra" / "tf_serving_warmup_requests"))
    assert {(r.model_spec.name, r.model_spec.signature_name) for r in requests} == {
        ("colour", "serving_default")
    }
    sent = [list(request.inputs["inputs"].string_val) for request in requests]
    first, second = (path.read_bytes() for path in pictures)
    assert sent == [[first], [first, second, first]]


def test_warm_up_of_floats_is_scaled_as_trained(made: dict[str, Path], tmp_path: Path) -> None:
    """A model that takes floats is warmed with pixels of its size and range."""
    version = _export(
        made["TF2 SavedModel"],
        tmp_path / "model",
        *("--range", "-1..1", "--batch-sizes", "2", "--warmup", _picture(tmp_path / "a.png")),
    )
    (request,) = _records(version / "assets.extra" / "tf_serving_warmup_requests")
    values = tf.make_ndarray(request.inputs["image"])
    assert values.shape == (2, SIZE, SIZE, 3)
    assert _as_list(values[1, 3, 3]) == [1.0, 0.004, -0.6]


@pytest.mark.parametrize(
    ("form", "flags", "why"),
    [
        ("TF1 SavedModel", ["--input", "uint8"], "--range: the model takes float32 pixels"),
        ("TF1 SavedModel", ["--input", "uint8", "--range", "0..1", "--size", "9x9"], "takes 8x8"),
        ("TF1 SavedModel", ["--signature", "other", "--labels", "coco"], "it has again, serving_default"),
        ("TF1 SavedModel", ["--warmup", "no-such.jpg", "--range", "0..1"], "no-such.jpg is not a readable"),
        ("TF1 SavedModel", ["--warmup", __file__, "--range", "0..1"], "is not a readable image"),
        ("frozen graph", ["--outputs", "nothing:0"], "--outputs: the graph has no tensor nothing:0"),
        ("frozen graph", ["--inputs", "x=nothing"], "--inputs: the graph has no tensor nothing:0"),
        ("checkpoint", ["--checkpoint", "elsewhere"], "elsewhere.index is not there"),
    ],
)
def test_what_is_wrong_is_one_line(
    form: str, flags: list[str], why: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """A wrong flag names itself, what was found and what is needed; no version and no scrap is left."""
    with pytest.raises(SettingsError, match=why) as refusal:
        _export(made[form], tmp_path / "model", *flags)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "model").exists() or list((tmp_path / "model").iterdir()) == []


def test_the_command_prints_the_version_and_what_it_serves(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`riverlens serving export` ends with 0 after naming the folder, the signatures and the check."""
    copied = shutil.copytree(made["TF2 SavedModel"], tmp_path / "saved")
    assert main(["serving", "export", str(copied), str(tmp_path / "model"), "--labels", "coco"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "model" / "1")
    assert any(line.startswith("serving_default ") for line in lines)
    assert any(line.startswith("checked: riverlens_info, serving_default") for line in lines)
