"""An export that is ended in the middle leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from riverlens_serving.export.folder import beside
from tests import export_sources
from tests.model_servers import wait_for


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_export_that_is_ended_leaves_nothing(number: int, code: int, tmp_path: Path) -> None:
    """SIGTERM or Ctrl-C while it writes: no version, no scrap, no traceback."""
    source = export_sources.saved_model_2(tmp_path)
    for attempt in range(5):
        model = tmp_path / f"model-{attempt}"
        ended, told = _ended_while_it_writes(source, model, number)
        if not (model / "1").exists():
            break
    assert ended == code
    assert list(model.iterdir()) == []
    assert b"Traceback" not in told


def _ended_while_it_writes(source: Path, model: Path, number: int) -> tuple[int, bytes]:
    """The exit code, and stderr. On a busy machine the version may be finished before the signal comes."""
    words = ("serving", "export", str(source), str(model), "--input", "encoded", "--range", "0..1")
    with subprocess.Popen(
        [sys.executable, "-m", "riverlens", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as running:
        wait_for(lambda: any(model.glob(".export-*")) or running.poll() is not None)
        running.send_signal(number)
        _, told = running.communicate(timeout=60)
    return running.returncode, told


def test_what_a_killed_export_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """The next export clears it away; a scratch folder of today may be one that still runs."""
    old, young = tmp_path / ".export-old", tmp_path / ".export-young"
    for folder in (old, young):
        folder.mkdir()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    with beside(tmp_path) as scratch:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, scratch.name])
