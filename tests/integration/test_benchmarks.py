"""The benchmarks end to end: a real worker, real Kafka, the simulated device, three seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import ROOT
from benchmarks.store import Store

pytestmark = pytest.mark.alone


def _figures(out: Path, *words: str) -> tuple[str, list[dict[str, Any]]]:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout, json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]


def test_three_seconds_of_paced_frames_have_their_figures(tmp_path: Path) -> None:
    """Every frame has one event, in order, the device ran just these, latency is above the oracle's."""
    text, [row] = _figures(tmp_path, "smoke")
    assert row["stack"] == "riverlens"
    assert row["events"] == row["expected"] > 1000
    assert row["missing"] == row["repeats"] == row["disorder"] == 0
    assert 15 < row["of_ceiling_percent"] < 25, "20 % of the ceiling were sent"
    assert row["cpu_ms_per_frame"] > 0
    assert 40e6 < row["rss_start_mb"] * 1e6 < 400e6
    group = row["latency"]["all"]
    assert group["answered"] == group["frames"] > 0
    assert group["p50_ms"] > 0.9 * group["oracle_p50_ms"] > 3
    assert "THE COMPARISON IS VOID" in text, "the comparison workers were not measured"
    assert set(row["stages_ms"]) == {"broker", "queue", "decode", "predict", "publish"}
    assert (tmp_path / "latency-fast.svg").read_text(encoding="utf-8").startswith("<svg")


def test_what_was_measured_is_neither_lost_nor_measured_again(tmp_path: Path) -> None:
    """`--resume` finds nothing left to do, `--report` tells the same figures, both within seconds."""
    Store(tmp_path).keep("smoke", [], ["smoke"])
    for word in ("--resume", "--report"):
        text, rows = _figures(tmp_path, "smoke", word)
        assert rows == []
        assert ("already" in text) is (word == "--resume")
