"""Pixels that are neither three channels nor 0 to 255: gray, and signed bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from riverlens.errors import SettingsError
from riverlens_serving.export import check
from tests import export_sources
from tests.export_sources import SIZE
from tests.integration.test_export import _answers, _export, _picture, _png, _records, _said


def test_a_model_of_one_channel_is_fed_brightness(tmp_path: Path) -> None:
    """--input decodes colour pictures and weighs them into gray; a worker's warm-up is gray as well."""
    source, picture = export_sources.brightness(tmp_path), _picture(tmp_path / "a.png")
    luma = float(np.asarray(Image.open(picture).convert("L"))[0, 0])
    version = _export(source, tmp_path / "m", "--input", "encoded", "--range", "0..255")
    (answer,) = _answers(version, "serving_default", inputs=check.encoded_rows([_png((9, 7))])).values()
    assert answer == pytest.approx(np.array([[luma]]), abs=1)
    version = _export(source, tmp_path / "m", "--range", "0..1", "--warmup", picture, "--batch-sizes", "2")
    (request,) = _records(version / "assets.extra" / "tf_serving_warmup_requests")
    values = tf.make_ndarray(request.inputs["image"])
    assert values.shape == (2, 1, SIZE, SIZE)
    assert values == pytest.approx(luma / 255, abs=0.01)
    assert "colour" not in _said(version)
    with pytest.raises(SettingsError, match=r"--mean, --std: .*one channel"):
        _export(source, tmp_path / "m", "--input", "uint8", "--range", "0..1", "--mean", "1,2,3")


def test_signed_bytes_need_their_range(tmp_path: Path) -> None:
    """int8 cannot hold 0 to 255: without --range half of the brightness would be cut off silently."""
    source = export_sources.brightness(tmp_path, "int8")
    with pytest.raises(SettingsError, match=r"^--range: .*-128\.\.127"):
        _export(source, tmp_path / "m", "--input", "uint8")
    version = _export(source, tmp_path / "m", "--input", "uint8", "--range", "-128..127")
    white = np.full((1, 4, 4, 3), 255, np.uint8)
    assert _answers(version, "serving_default", inputs=white)["level"].tolist() == [[127.0]]
