"""`riverlens demo` as a stranger runs it: real Kafka, real TensorFlow, the committed detector."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

pytestmark = pytest.mark.alone

_LIMIT_S = 150


def _demo(folder: Path, *flags: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    words = [sys.executable, "-m", "riverlens", "demo", "--output", str(folder), *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    summary = folder / "summary.json"
    return done, orjson.loads(summary.read_bytes()) if summary.exists() else {}


@pytest.mark.timeout(_LIMIT_S + 10)
def test_the_demo_balances_and_finds_what_is_there(tmp_path: Path) -> None:
    """Frames of synthetic streets become events whose numbers balance and whose boxes fit the truth."""
    done, summary = _demo(tmp_path, "--seconds", "6", "--cameras", "3", "--fps", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary["problems"] == []
    assert summary["consumed"] == summary["produced"] > 40
    assert summary["published"] == summary["events"] == summary["consumed"]
    assert summary["recall"] >= 0.8
    assert summary["precision"] >= 0.8
    assert len(list(tmp_path.glob("sample-*.jpg"))) == 6
    assert "consumed" in done.stdout
    assert re.search(r"wall: http://127\.0\.0\.1:\d+/ shows the cameras live", done.stdout)
    assert "the wall is at http://127.0.0.1:" in (tmp_path / "logs" / "wall.log").read_text()


def test_a_video_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """A wrong path ends the demo before anything starts, with the setting's name and no traceback."""
    done, _ = _demo(tmp_path, "--video", str(tmp_path / "no.mp4"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"riverlens demo: video: {tmp_path / 'no.mp4'} does not exist; see --video"
    ]


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    """A folder that holds no SavedModel is told so."""
    done, _ = _demo(tmp_path, "--model", str(tmp_path))
    assert done.returncode == 2
    assert "holds no saved_model.pb" in done.stderr
    assert "Traceback" not in done.stderr
